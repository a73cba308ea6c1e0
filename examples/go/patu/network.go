// Package patu is container networking for edge devices, by patu's C ABI; as much of it as the host needs.
//
// What its calls make is in the kernel and stays there when the process ends: Close ends a handle and nothing else. One
// goroutine at a time may use a handle.
package patu

// #cgo pkg-config: patu_c
// #include <patu/patu.h>
import "C"

import (
	"net/netip"
	"unsafe"
)

// Netns is an open network namespace; holding it keeps the namespace alive.
type Netns struct{ pointer *C.patu_netns }

// CreateNetns makes a new, empty namespace that lives as long as something holds it.
func CreateNetns() (*Netns, error) {
	var netns Netns
	var failure *C.patu_error
	status := C.patu_netns_create(&netns.pointer, &failure)
	return opened(&netns, status, failure)
}

// OpenNetns opens /run/netns/NAME or /proc/PID/ns/net.
func OpenNetns(path string) (*Netns, error) {
	var netns Netns
	var failure *C.patu_error
	var l lent
	defer l.free()
	text := l.text(path)
	if l.err != nil {
		return nil, l.err
	}
	status := C.patu_netns_open_path(text, &netns.pointer, &failure)
	return opened(&netns, status, failure)
}

// Close may be called more than once, as all Closes here.
func (netns *Netns) Close() error {
	C.patu_netns_close(netns.pointer)
	netns.pointer = nil
	return nil
}

// DatapathOptions say which instance; what is "" has the library's default.
type DatapathOptions struct{ Instance, Bpffs, Cgroup string }

func (options DatapathOptions) lend(l *lent) *C.patu_datapath_options {
	out := &array[C.patu_datapath_options](l, 1)[0]
	out.struct_size = C.sizeof_patu_datapath_options
	out.instance, out.bpffs, out.cgroup = l.text(options.Instance), l.text(options.Bpffs), l.text(options.Cgroup)
	return out
}

// Datapath is the BPF programs and maps of an instance.
type Datapath struct{ pointer *C.patu_datapath }

// OpenDatapath adopts what is pinned, or loads it.
func OpenDatapath(options DatapathOptions) (*Datapath, error) {
	var datapath Datapath
	var failure *C.patu_error
	var l lent
	defer l.free()
	lentOptions := options.lend(&l)
	if l.err != nil {
		return nil, l.err
	}
	status := C.patu_datapath_open(lentOptions, &datapath.pointer, &failure)
	return opened(&datapath, status, failure)
}

// Close ends the handle.
func (datapath *Datapath) Close() error {
	C.patu_datapath_close(datapath.pointer)
	datapath.pointer = nil
	return nil
}

// UnloadDatapath removes the instance from the kernel; Busy while pods are attached.
func UnloadDatapath(options DatapathOptions) error {
	var failure *C.patu_error
	var l lent
	defer l.free()
	lentOptions := options.lend(&l)
	if l.err != nil {
		return l.err
	}
	status := C.patu_datapath_unload(lentOptions, 0, nil, &failure)
	return check(status, failure)
}

// Network is a bridge and the pods on it.
type Network struct{ pointer *C.patu_network }

// OpenNetwork creates the bridge or adopts it; a pod gets an address of each family from the first subnet with room.
func (datapath *Datapath) OpenNetwork(bridge string, subnets ...netip.Prefix) (*Network, error) {
	var network Network
	var failure *C.patu_error
	var l lent
	defer l.free()
	lentSubnets := array[C.patu_subnet](&l, len(subnets))
	for i, subnet := range subnets {
		lentSubnets[i].struct_size = C.sizeof_patu_subnet
		lentSubnets[i].prefix.network = toAddress(subnet.Addr())
		lentSubnets[i].prefix.length = C.uint32_t(subnet.Bits())
	}
	options := &array[C.patu_network_options](&l, 1)[0]
	options.struct_size = C.sizeof_patu_network_options
	options.bridge = l.text(bridge)
	options.subnets, options.subnet_count = first(lentSubnets), C.size_t(len(subnets))
	if l.err != nil {
		return nil, l.err
	}
	status := C.patu_network_open(datapath.pointer, options, &network.pointer, &failure)
	return opened(&network, status, failure)
}

// Close ends the handle.
func (network *Network) Close() error {
	C.patu_network_close(network.pointer)
	network.pointer = nil
	return nil
}

// Bridge is the bridge's name.
func (network *Network) Bridge() string { return C.GoString(C.patu_network_bridge(network.pointer)) }

// Pod is what to attach, by an interface eth0.
type Pod struct {
	ContainerID string
	Netns       *Netns
}

// Attachment is a pod's interface. The prefixes are its addresses with the length of what is on link.
type Attachment struct {
	ContainerID string
	Addresses   []netip.Prefix
	MTU         uint32
}

// Attach makes a complete interface in each pod: all of them or none.
func (network *Network) Attach(pods ...Pod) ([]Attachment, error) {
	var made *C.patu_attachments
	var failure *C.patu_error
	var l lent
	defer l.free()
	specs := array[C.patu_pod_spec](&l, len(pods))
	for i, pod := range pods {
		specs[i].struct_size = C.sizeof_patu_pod_spec
		specs[i].id.container_id = l.text(pod.ContainerID)
		specs[i].netns = pod.Netns.pointer
	}
	if l.err != nil {
		return nil, l.err
	}
	status := C.patu_network_attach(network.pointer, first(specs), C.size_t(len(pods)), &made, &failure)
	if err := check(status, failure); err != nil {
		return nil, err
	}
	defer C.patu_attachments_free(made)
	var out []Attachment
	for i := C.size_t(0); i < C.patu_attachments_count(made); i++ {
		out = append(out, attachment(C.patu_attachments_at(made, i)))
	}
	return out, nil
}

func attachment(made *C.patu_attachment) Attachment {
	out := Attachment{ContainerID: C.GoString(made.id.container_id), MTU: uint32(made.mtu)}
	for _, each := range unsafe.Slice(made.addresses, int(made.address_count)) {
		out.Addresses = append(out.Addresses, netip.PrefixFrom(fromAddress(each.address), int(each.prefix_length)))
	}
	return out
}

// Detach removes interfaces, addresses and map entries; a success where there is nothing.
func (network *Network) Detach(containerIDs ...string) error {
	var failure *C.patu_error
	var l lent
	defer l.free()
	ids := array[C.patu_attachment_id](&l, len(containerIDs))
	for i, id := range containerIDs {
		ids[i].container_id = l.text(id)
	}
	if l.err != nil {
		return l.err
	}
	status := C.patu_network_detach(network.pointer, first(ids), C.size_t(len(ids)), &failure)
	return check(status, failure)
}

// Remove removes the bridge; Busy while pods are attached.
func (network *Network) Remove() error {
	var failure *C.patu_error
	status := C.patu_network_remove(network.pointer, &failure)
	return check(status, failure)
}
