// Memory that both sides see: Go's may not hold pointers to Go's when C reads it, so what the library is to read is C's.

package patu

// #include <patu/patu.h>
// #include <stdlib.h>
import "C"

import (
	"fmt"
	"net/netip"
	"strings"
	"unsafe"
)

// What is lent to the library for one call.
type lent struct {
	pointers []unsafe.Pointer
	err      error
}

func (l *lent) free() {
	for _, pointer := range l.pointers {
		C.free(pointer)
	}
}

// An array of C's, all zero, as a slice; cgo's calloc does not return where there is no memory.
func array[T any](l *lent, count int) []T {
	if count == 0 {
		return nil
	}
	var element T
	pointer := C.calloc(C.size_t(count), C.size_t(unsafe.Sizeof(element)))
	l.pointers = append(l.pointers, pointer)
	return unsafe.Slice((*T)(pointer), count)
}

func first[T any](values []T) *T {
	if len(values) == 0 {
		return nil
	}
	return &values[0]
}

// NULL for "", which lets the library take its default. A zero byte would end the string early: the call must not be made.
func (l *lent) text(text string) *C.char {
	if text == "" {
		return nil
	}
	if strings.IndexByte(text, 0) >= 0 && l.err == nil {
		l.err = &Error{Code: InvalidArgument, Text: fmt.Sprintf("%q has a zero byte", text)}
	}
	copied := C.CString(text)
	l.pointers = append(l.pointers, unsafe.Pointer(copied))
	return copied
}

func toAddress(address netip.Addr) (out C.patu_address) {
	if address.IsValid() {
		*(*[16]byte)(unsafe.Pointer(&out)) = address.As16()
	}
	return out
}

func fromAddress(address C.patu_address) netip.Addr {
	return netip.AddrFrom16(*(*[16]byte)(unsafe.Pointer(&address))).Unmap()
}

func toEndpoint(endpoint netip.AddrPort) C.patu_endpoint {
	return C.patu_endpoint{address: toAddress(endpoint.Addr()), port: C.uint16_t(endpoint.Port())}
}

func fromEndpoint(endpoint C.patu_endpoint) netip.AddrPort {
	return netip.AddrPortFrom(fromAddress(endpoint.address), uint16(endpoint.port))
}

func names(list *C.patu_names) []string {
	var out []string
	for i := C.size_t(0); i < C.patu_names_count(list); i++ {
		out = append(out, C.GoString(C.patu_names_at(list, i)))
	}
	return out
}
