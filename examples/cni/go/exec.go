// An invoke.Exec for libcni that calls patu's plugin in this process, and executes all others.
package main

/*
#cgo LDFLAGS: -lpatu_cni
#include <patu/patu_cni.h>
#include <stdlib.h>
*/
import "C"

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"unsafe"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
)

// Exec serves the plugins that are named; for another it falls back on what libcni does by itself.
type Exec struct {
	invoke.DefaultExec
	Served map[string]bool
}

func (e *Exec) FindInPath(plugin string, paths []string) (string, error) {
	if e.Served[plugin] {
		return plugin, nil
	}
	return e.DefaultExec.FindInPath(plugin, paths)
}

func (e *Exec) ExecPlugin(ctx context.Context, path string, input []byte, environ []string) ([]byte, error) {
	if !e.Served[filepath.Base(path)] {
		return e.DefaultExec.ExecPlugin(ctx, path, input, environ)
	}
	role := C.CString(path)
	defer C.free(unsafe.Pointer(role))
	// The list and its strings are C's: Go's memory must not hold pointers to Go's while C has it.
	width := C.size_t(unsafe.Sizeof(role))
	list := (*[1 << 16]*C.char)(C.calloc(C.size_t(len(environ)+1), width))
	defer C.free(unsafe.Pointer(list))
	for i, entry := range environ {
		list[i] = C.CString(entry)
		defer C.free(unsafe.Pointer(list[i]))
	}
	text := C.CBytes(input)
	defer C.free(text)
	var output *C.char
	var length C.size_t
	status := C.patu_cni_exec(role, &list[0], (*C.char)(text), C.size_t(len(input)), &output, &length)
	defer C.patu_cni_free(output)
	answer := C.GoBytes(unsafe.Pointer(output), C.int(length))
	if status == 0 {
		return answer, nil
	}
	failure := &types.Error{}
	if err := json.Unmarshal(answer, failure); err != nil {
		return nil, fmt.Errorf("%s: status %d", path, int(status))
	}
	return nil, failure
}
