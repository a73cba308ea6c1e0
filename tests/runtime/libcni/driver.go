// Drives a CNI network as a container runtime does, by libcni; one verb a run.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/containernetworking/cni/libcni"
)

const usage = `usage: driver add|check|del CONFLIST PLUGIN_DIRECTORY CACHE_DIRECTORY CONTAINER NETNS [CAPABILITIES]

CAPABILITIES is a JSON object of capability arguments, such as {"portMappings": [...]}. add prints the result.`

func drive(arguments []string) error {
	list, err := libcni.ConfListFromFile(arguments[1])
	if err != nil {
		return err
	}
	runtime := &libcni.RuntimeConf{ContainerID: arguments[4], NetNS: arguments[5], IfName: "eth0"}
	if len(arguments) > 6 {
		if err := json.Unmarshal([]byte(arguments[6]), &runtime.CapabilityArgs); err != nil {
			return err
		}
	}
	plugins := libcni.NewCNIConfigWithCacheDir([]string{arguments[2]}, arguments[3], nil)
	ctx := context.Background()
	switch arguments[0] {
	case "add":
		result, err := plugins.AddNetworkList(ctx, list, runtime)
		if err != nil {
			return err
		}
		return result.PrintTo(os.Stdout)
	case "check":
		return plugins.CheckNetworkList(ctx, list, runtime)
	case "del":
		return plugins.DelNetworkList(ctx, list, runtime)
	}
	return fmt.Errorf("unknown verb %q", arguments[0])
}

func main() {
	if count := len(os.Args); count < 7 || count > 8 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	if err := drive(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
