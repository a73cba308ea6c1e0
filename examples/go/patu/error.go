// Errors as Go has them: errors.Is(err, patu.Busy), errors.Is(err, syscall.EPERM), errors.As(err, &failure).

package patu

// #include <patu/patu.h>
import "C"

import "syscall"

// Code says which kind of failure it is; the numbers are fixed for ever, and later versions may add some.
type Code int32

// What a call's Error is, for errors.Is.
const (
	InvalidArgument  Code = C.PATU_E_INVALID_ARGUMENT
	NotFound         Code = C.PATU_E_NOT_FOUND
	AlreadyExists    Code = C.PATU_E_ALREADY_EXISTS
	PermissionDenied Code = C.PATU_E_PERMISSION_DENIED
	Unsupported      Code = C.PATU_E_UNSUPPORTED
	Exhausted        Code = C.PATU_E_EXHAUSTED
	Busy             Code = C.PATU_E_BUSY
	TimedOut         Code = C.PATU_E_TIMED_OUT
	Protocol         Code = C.PATU_E_PROTOCOL
	IO               Code = C.PATU_E_IO
	OutOfMemory      Code = C.PATU_E_OUT_OF_MEMORY
	VersionMismatch  Code = C.PATU_E_VERSION_MISMATCH
	Internal         Code = C.PATU_E_INTERNAL
)

func (code Code) Error() string { return C.GoString(C.patu_status_name(C.patu_status(code))) }

// Error is a call that failed.
type Error struct {
	Code  Code
	Errno syscall.Errno // 0 where no system call was involved
	Text  string        // names the object and the step
}

func (failure *Error) Error() string { return failure.Code.Error() + ": " + failure.Text }

// Is lets errors.Is compare with a Code.
func (failure *Error) Is(target error) bool {
	code, ok := target.(Code)
	return ok && code == failure.Code
}

// Unwrap lets errors.Is compare with the kernel's number.
func (failure *Error) Unwrap() error {
	if failure.Errno == 0 {
		return nil
	}
	return failure.Errno
}

// Makes a Go error of what a call returned, and frees the library's.
func check(status C.patu_status, failure *C.patu_error) error {
	if status == C.PATU_OK {
		return nil
	}
	defer C.patu_error_free(failure)
	return &Error{Code(status), syscall.Errno(C.patu_error_errno(failure)), C.GoString(C.patu_error_text(failure))}
}

// The handle if the call gave one, else nil.
func opened[T any](handle *T, status C.patu_status, failure *C.patu_error) (*T, error) {
	if err := check(status, failure); err != nil {
		return nil, err
	}
	return handle, nil
}
