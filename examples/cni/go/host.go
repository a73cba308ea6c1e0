// A small runtime on libcni: attaches a namespace by a conflist, checks it, and detaches it, with patu called and not executed.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
)

func run(conflist, container, netns string) error {
	list, err := libcni.ConfListFromFile(conflist)
	if err != nil {
		return err
	}
	exec := &Exec{
		DefaultExec: invoke.DefaultExec{RawExec: &invoke.RawExec{Stderr: os.Stderr}},
		Served:      map[string]bool{"patu": true, "patu-cni": true},
	}
	runtime := &libcni.RuntimeConf{ContainerID: container, NetNS: netns, IfName: "eth0"}
	cache := filepath.Join(os.TempDir(), "patu-cni-host")
	cni := libcni.NewCNIConfigWithCacheDir([]string{"/opt/cni/bin", "/usr/lib/cni"}, cache, exec)
	ctx := context.Background()
	result, err := cni.AddNetworkList(ctx, list, runtime)
	if err != nil {
		return fmt.Errorf("add: %w", err)
	}
	if err := result.Print(); err != nil {
		return err
	}
	if err := cni.CheckNetworkList(ctx, list, runtime); err != nil {
		return fmt.Errorf("check: %w", err)
	}
	return cni.DelNetworkList(ctx, list, runtime)
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: host CONFLIST CONTAINER NETNS")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
