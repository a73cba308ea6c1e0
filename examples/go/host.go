// The hosts' scenario in Go: a node with two pods and a service, from nothing and back to nothing.
package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"

	"patu.example/host/patu"
)

const service = "default/dns"

var subnets = []netip.Prefix{netip.MustParsePrefix("10.201.0.0/24"), netip.MustParsePrefix("fd00:201::/64")}

var serviceAddresses = []netip.AddrPort{
	netip.MustParseAddrPort("10.96.0.53:53"), netip.MustParseAddrPort("[fd00:96::53]:53"),
}

// Both pods in one call: Attach makes all of a batch, or none of it.
func attachPods(network *patu.Network, first, second *patu.Netns) ([]patu.Attachment, error) {
	pods, err := network.Attach(patu.Pod{ContainerID: "web-1", Netns: first}, patu.Pod{ContainerID: "web-2", Netns: second})
	for _, pod := range pods {
		fmt.Printf("pod %s:", pod.ContainerID)
		for _, address := range pod.Addresses {
			fmt.Printf(" %s", address)
		}
		fmt.Printf(", mtu %d\n", pod.MTU)
	}
	return pods, err
}

// The backends are the pods, with every address that they have. The second sync finds nothing to do.
func writeService(services *patu.Services, pods []patu.Attachment) error {
	wanted := patu.Service{Name: service}
	for _, address := range serviceAddresses {
		wanted.Frontends = append(wanted.Frontends, patu.Frontend{Transport: patu.UDP, Endpoint: address})
	}
	for _, pod := range pods {
		for _, address := range pod.Addresses {
			wanted.Backends = append(wanted.Backends, netip.AddrPortFrom(address.Addr(), 53))
		}
	}
	for i := 0; i < 2; i++ {
		report, err := services.Sync(wanted)
		if err != nil {
			return err
		}
		fmt.Printf("sync: %d added, %d changed, %d removed, %d unchanged, %d refused\n", len(report.Added),
			len(report.Changed), len(report.Removed), report.Unchanged, len(report.Refused))
	}
	return nil
}

// Connects as any program does; the service's statistics tell that its sockets were given backends.
func useService(services *patu.Services) error {
	for _, to := range append(serviceAddresses, netip.MustParseAddrPort("10.96.0.53:54")) {
		found, err := services.Explain(patu.UDP, to)
		if err != nil {
			return err
		}
		fmt.Printf("udp %s: %s", to, found.Verdict)
		for _, candidate := range found.Candidates {
			fmt.Printf(" %s", candidate)
		}
		fmt.Println()
	}
	for i := 0; i < 10; i++ {
		client, err := net.Dial("udp", serviceAddresses[0].String())
		if err != nil {
			return err
		}
		client.Close()
	}
	stats, err := services.Stats()
	for _, of := range stats {
		fmt.Printf("%s: %d connects, %d refused\n", of.Name, of.Connects, of.Refused)
	}
	return err
}

func removeAll(network *patu.Network, services *patu.Services) error {
	if err := network.Remove(); errors.Is(err, patu.Busy) {
		fmt.Println(err)
	}
	if err := services.Remove(service); err != nil {
		return err
	}
	if err := network.Detach("web-1", "web-2"); err != nil {
		return err
	}
	return network.Remove()
}

func run(options patu.DatapathOptions) error {
	datapath, err := patu.OpenDatapath(options)
	if err != nil {
		return err
	}
	defer datapath.Close()
	network, err := datapath.OpenNetwork("example0", subnets...)
	if err != nil {
		return err
	}
	defer network.Close()
	services, err := datapath.OpenServices()
	if err != nil {
		return err
	}
	defer services.Close()
	fmt.Println("network", network.Bridge())
	if err := runPods(network, services); err != nil {
		return err
	}
	if err := patu.UnloadDatapath(options); err != nil {
		return err
	}
	fmt.Println("removed")
	return nil
}

func runPods(network *patu.Network, services *patu.Services) error {
	first, err := patu.CreateNetns()
	if err != nil {
		return err
	}
	defer first.Close()
	second, err := patu.CreateNetns()
	if err != nil {
		return err
	}
	defer second.Close()
	pods, err := attachPods(network, first, second)
	if err != nil {
		return err
	}
	if err := writeService(services, pods); err != nil {
		return err
	}
	if err := useService(services); err != nil {
		return err
	}
	return removeAll(network, services)
}

func main() {
	options := patu.DatapathOptions{Instance: "example"}
	flag.StringVar(&options.Bpffs, "bpffs", "", "a mounted BPF file system; default: /sys/fs/bpf")
	flag.StringVar(&options.Cgroup, "cgroup", "", "whose processes see the service; default: all processes")
	flag.Parse()
	if err := run(options); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
