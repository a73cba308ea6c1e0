# patu for Python: its C ABI (libpatu_c.so.0) by ctypes, without other packages.
"""Container networking for edge devices: data paths, networks, and services.

    import patu

    with patu.Datapath.open() as datapath, \\
            datapath.network("pods0", ["10.200.0.0/24"]) as network, \\
            datapath.services() as services, \\
            patu.Netns.of_path("/run/netns/web-1") as netns:
        (web,) = network.attach(patu.Pod("web-1", netns))
        backend = patu.Backend(f"{web.addresses[0].ip}:8080")
        services.sync([patu.Service("default/web", [patu.Frontend("10.96.0.10:80")], [backend])])

What these calls make is in the kernel and stays there when the process ends; the next process opens the same names and goes
on. What is to be gone, is removed by a verb: Network.detach, Network.remove, Services.remove, Datapath.unload.

Handles (Datapath, AddressPool, Network, Services, EventReader, Netns) are context managers and have close(); that ends the handle, and
nothing in the kernel. A handle may be used by one thread at a time, and cannot be copied. Every call that fails raises
patu.Error. Verbs are idempotent; what makes something is all or nothing. bindings/c/include/patu/patu.h says more about each call: its errors, and the kernel it needs.

The library is found as the dynamic linker finds it: LD_LIBRARY_PATH names a directory that ldconfig does not know.
"""

import ctypes
import ipaddress
import os
from ctypes import POINTER, byref, c_char_p, c_int32, c_size_t, c_uint8, c_uint16, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass
from typing import Iterable, Optional, Sequence, Union

_library = ctypes.CDLL("libpatu_c.so.0")

# ---- Errors

_INVALID_ARGUMENT = -1


class Error(Exception):
    """A call that failed: str() names the object and the step.

    code   one of patu's numbers, negative and fixed for ever
    name   the same as a word: "not_found", "busy", ...
    errno  the kernel's number, or 0 where no system call was involved
    """

    def __init__(self, code: int, errno: int, text: str):
        super().__init__(text)
        self.code = code
        self.errno = errno
        self.name = _function("patu_status_name", c_char_p, c_int32)(code).decode()

    def __reduce__(self):
        # For multiprocessing, whose workers send what they raise.
        return type(self), (self.code, self.errno, str(self))


def _function(name, result, *arguments):
    function = getattr(_library, name)
    function.restype = result
    function.argtypes = arguments
    return function


def _call(name, *arguments):
    """A function that may fail; `arguments` are (type, value), without the error at the end."""
    for kind, value in arguments:
        if _is_plain(value):
            _check_kept(value, kind(value).value)
    function = _function(name, c_int32, *(kind for kind, _ in arguments), POINTER(c_void_p))
    error = c_void_p()
    status = function(*(value for _, value in arguments), byref(error))
    if status == 0:
        return
    text = _function("patu_error_text", c_char_p, c_void_p)(error).decode(errors="replace")
    errno = _function("patu_error_errno", c_int32, c_void_p)(error)
    _free("patu_error_free", error)
    raise Error(status, errno, text)


def _is_plain(value):
    return isinstance(value, bytes) or hasattr(value, "__index__")


def _check_kept(given, kept):
    """ctypes cuts off what of a number has no room, and of a text what follows a zero byte: the call must not be made."""
    if _is_plain(given) and given != kept:
        why = f"{given.decode(errors='replace')!r} has a zero byte" if isinstance(given, bytes) else f"{given} is out of range"
        raise Error(_INVALID_ARGUMENT, 0, why)


def _free(name, pointer):
    _function(name, None, c_void_p)(pointer)


# ---- Structs, as the header has them


class _Struct(ctypes.Structure):
    """Refuses what would not arrive as it was given."""

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        _check_kept(value, getattr(self, name))


class patu_address(_Struct):
    _fields_ = [("bytes", c_uint8 * 16)]


class patu_prefix(_Struct):
    _fields_ = [("network", patu_address), ("length", c_uint32)]


class patu_interface_address(_Struct):
    _fields_ = [("address", patu_address), ("prefix_length", c_uint32)]


class patu_endpoint(_Struct):
    _fields_ = [("address", patu_address), ("port", c_uint16)]


class patu_mac(_Struct):
    _fields_ = [("bytes", c_uint8 * 6)]


class patu_attachment_id(_Struct):
    _fields_ = [("container_id", c_char_p), ("ifname", c_char_p)]


class patu_datapath_options(_Struct):
    _fields_ = [
        ("struct_size", c_size_t), ("instance", c_char_p), ("bpffs", c_char_p), ("cgroup", c_char_p), ("flags", c_uint32),
        ("redirect_limit_bytes", c_uint32), ("max_pods", c_uint32), ("max_services", c_uint32),
        ("max_redirected_sockets", c_uint32), ("reserved", c_uint32),
    ]


class patu_program(_Struct):
    _fields_ = [("struct_size", c_size_t), ("name", c_char_p), ("id", c_uint32), ("instructions", c_uint32)]


class patu_map(_Struct):
    _fields_ = [
        ("struct_size", c_size_t), ("name", c_char_p), ("memory_bytes", c_uint64), ("id", c_uint32), ("max_entries", c_uint32),
    ]


class patu_feature(_Struct):
    _fields_ = [
        ("struct_size", c_size_t), ("name", c_char_p), ("detail", c_char_p), ("available", c_uint32), ("reserved", c_uint32),
    ]


class patu_datapath_state(_Struct):
    _fields_ = [
        ("struct_size", c_size_t), ("directory", c_char_p), ("programs", c_void_p), ("maps", c_void_p), ("features", c_void_p),
        ("cgroup_id", c_uint64), ("socket_redirect_loaded", c_uint32), ("socket_redirect_enabled", c_uint32),
        ("redirect_limit_bytes", c_uint32), ("reserved", c_uint32),
    ]


class patu_subnet(_Struct):
    _fields_ = [
        ("struct_size", c_size_t), ("reserved_addresses", POINTER(patu_address)), ("reserved_address_count", c_size_t),
        ("prefix", patu_prefix), ("gateway", patu_address), ("first", patu_address), ("last", patu_address),
        ("reserved", c_uint32),
    ]


class patu_route(_Struct):
    _fields_ = [
        ("struct_size", c_size_t), ("destination", patu_prefix), ("gateway", patu_address), ("mtu", c_uint32),
        ("advmss", c_uint32), ("priority", c_uint32), ("table", c_uint32), ("flags", c_uint32), ("scope", c_uint32),
        ("reserved", c_uint32),
    ]


class patu_pool_usage(_Struct):
    _fields_ = [("capacity", c_uint64), ("leased", c_uint64), ("free", c_uint64)]


class patu_lease(_Struct):
    _fields_ = [("struct_size", c_size_t), ("owner", patu_attachment_id), ("acquired_ns", c_uint64), ("address", patu_address)]


class patu_network_options(_Struct):
    _fields_ = [
        ("struct_size", c_size_t), ("bridge", c_char_p), ("subnets", POINTER(patu_subnet)), ("subnet_count", c_size_t),
        ("redirect_excluded_ports", POINTER(c_uint16)), ("redirect_excluded_port_count", c_size_t), ("netns", c_void_p),
        ("mtu", c_uint32), ("flags", c_uint32), ("name", c_char_p), ("routes", POINTER(patu_route)), ("route_count", c_size_t),
    ]


class patu_pod_spec(_Struct):
    _fields_ = [
        ("struct_size", c_size_t), ("id", patu_attachment_id), ("netns", c_void_p), ("addresses", POINTER(patu_address)),
        ("address_count", c_size_t), ("flags", c_uint32), ("mac", patu_mac), ("reserved", c_uint16 * 3),
    ]


class patu_attachment(_Struct):
    _fields_ = [
        ("struct_size", c_size_t), ("id", patu_attachment_id), ("host_ifname", c_char_p),
        ("addresses", POINTER(patu_interface_address)), ("address_count", c_size_t), ("gateways", POINTER(patu_address)),
        ("gateway_count", c_size_t), ("host_ifindex", c_uint32), ("mtu", c_uint32), ("flags", c_uint32), ("mac", patu_mac),
        ("host_mac", patu_mac),
    ]


class patu_deviation(_Struct):
    _fields_ = [
        ("struct_size", c_size_t), ("id", patu_attachment_id), ("what", c_char_p), ("destination", POINTER(patu_prefix)),
        ("kind", c_uint32), ("reserved", c_uint32),
    ]


class patu_reconcile_report(_Struct):
    _fields_ = [("struct_size", c_size_t), ("detached", c_void_p), ("released", c_void_p), ("repaired", c_void_p)]


class patu_frontend(_Struct):
    _fields_ = [
        ("endpoint", patu_endpoint), ("protocol", c_uint8), ("kind", c_uint8), ("flags", c_uint32), ("reserved", c_uint32 * 2),
    ]


class patu_backend(_Struct):
    _fields_ = [
        ("endpoint", patu_endpoint), ("weight", c_uint16), ("flags", c_uint32), ("state", c_uint8), ("reserved", c_uint8 * 7),
    ]


class patu_service(_Struct):
    _fields_ = [
        ("struct_size", c_size_t), ("name", c_char_p), ("frontends", POINTER(patu_frontend)), ("frontend_count", c_size_t),
        ("backends", POINTER(patu_backend)), ("backend_count", c_size_t), ("affinity_seconds", c_uint32), ("flags", c_uint32),
    ]


class patu_closed_sockets(_Struct):
    _fields_ = [("closed", c_uint32), ("namespaces", c_uint32), ("unreachable", c_uint32), ("reserved", c_uint32)]


class patu_refusal(_Struct):
    _fields_ = [("struct_size", c_size_t), ("name", c_char_p), ("reason", c_char_p), ("code", c_int32), ("reserved", c_uint32)]


class patu_sync_report(_Struct):
    _fields_ = [
        ("struct_size", c_size_t), ("added", c_void_p), ("changed", c_void_p), ("removed", c_void_p), ("refused", c_void_p),
        ("unchanged", c_size_t), ("closed", patu_closed_sockets),
    ]


class patu_service_stats(_Struct):
    _fields_ = [
        ("struct_size", c_size_t), ("name", c_char_p), ("connects", c_uint64), ("refused", c_uint64), ("retries", c_uint64),
        ("affinity_hits", c_uint64),
    ]


class patu_gauge(_Struct):
    _fields_ = [("struct_size", c_size_t), ("name", c_char_p), ("used", c_uint64), ("limit", c_uint64)]


class patu_explanation(_Struct):
    _fields_ = [
        ("struct_size", c_size_t), ("why", c_char_p), ("service", c_char_p), ("frontend", POINTER(patu_frontend)),
        ("candidates", POINTER(patu_backend)), ("candidate_count", c_size_t), ("preferred", POINTER(patu_endpoint)),
        ("verdict", c_uint32), ("reserved", c_uint32),
    ]


class patu_event(_Struct):
    _fields_ = [
        ("struct_size", c_size_t), ("service", c_char_p), ("netns_cookie", c_uint64), ("time_ns", c_uint64),
        ("frontend", patu_frontend), ("kind", c_uint32), ("reserved", c_uint32),
    ]


# ---- Values

Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
Interface = Union[ipaddress.IPv4Interface, ipaddress.IPv6Interface]

PROTOCOLS = {"tcp": 6, "udp": 17}
FRONTEND_KINDS = ("cluster", "load_balancer", "external", "node_port", "host_port")
BACKEND_STATES = ("active", "terminating", "maintenance")
DEVIATIONS = {0: "attachment", 1: "bridge", 2: "host_interface", 3: "program", 4: "lease", 5: "map_entry",
              6: "pod_interface", 7: "pod_mtu", 8: "pod_address", 9: "pod_route"}
VERDICTS = ("untouched", "translated", "refused")
EVENTS = {1: "no_backend", 2: "retries_exhausted", 3: "affinity_full", 4: "out_of_memory", 5: "peers_full"}


def _parsed(kind, text):
    value = kind()
    _call(f"{kind.__name__}_parse", (c_char_p, str(text).encode()), (POINTER(kind), byref(value)))
    return value


def _formatted(value):
    kind = type(value)
    text = ctypes.create_string_buffer(64)
    _call(f"{kind.__name__}_format", (POINTER(kind), byref(value)), (c_char_p, text), (c_size_t, len(text)))
    return text.value.decode()


def _address(value: patu_address) -> Address:
    return ipaddress.ip_address(_formatted(value))


def _text(value: Optional[bytes]) -> Optional[str]:
    return None if value is None else value.decode(errors="replace")


def _array(kind, values):
    """(array, count) for ctypes; the array lives as long as the struct that it is put into."""
    values = list(values)
    array = (kind * len(values))(*values)
    for given, kept in zip(values, array):
        _check_kept(given, kept)
    return array, len(values)


def _items(kind, values, result):
    """The elements of one of the library's lists."""
    count = _function(f"patu_{kind}_count", c_size_t, c_void_p)(values)
    at = _function(f"patu_{kind}_at", result if result is c_char_p else POINTER(result), c_void_p, c_size_t)
    elements = (at(values, index) for index in range(count))
    return [_text(each) if result is c_char_p else each.contents for each in elements]


def _read(kind, name, result, make, *arguments):
    """What `make` makes of each element of the list that the call gives out."""
    values = c_void_p()
    _call(name, *arguments, (POINTER(c_void_p), byref(values)))
    try:
        return [make(each) for each in _items(kind, values, result)]
    finally:
        _free(f"patu_{kind}_free", values)


class _Handle:
    """Something open; `close`, or the end of a with block, ends the handle and nothing in the kernel."""

    _close = ""

    def __init__(self, pointer):
        self._pointer = pointer

    def close(self) -> None:
        pointer, self._pointer = self._pointer, None
        if pointer:
            _free(self._close, pointer)

    def __reduce__(self):
        # For copy and pickle: two objects would close the same handle.
        raise TypeError(f"{type(self).__name__} cannot be copied")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def __del__(self):
        # Half made objects and the end of the interpreter come here too.
        if getattr(self, "_pointer", None) and _free is not None:
            self.close()

    @property
    def _self(self):
        if not self._pointer:
            raise ValueError(f"{type(self).__name__} is closed")
        return (c_void_p, self._pointer)


def _opened(name, *arguments):
    pointer = c_void_p()
    _call(name, *arguments, (POINTER(c_void_p), byref(pointer)))
    return pointer


# ---- Network namespaces


class Netns(_Handle):
    """An open network namespace; holding it keeps the namespace alive."""

    _close = "patu_netns_close"

    @classmethod
    def of_path(cls, path: Union[str, os.PathLike]) -> "Netns":
        """/run/netns/NAME or /proc/PID/ns/net."""
        return cls(_opened("patu_netns_open_path", (c_char_p, os.fsencode(path))))

    @classmethod
    def of_pid(cls, pid: int) -> "Netns":
        return cls(_opened("patu_netns_open_pid", (c_int32, pid)))

    @classmethod
    def of_fd(cls, netns_fd: int) -> "Netns":
        """The descriptor stays the caller's."""
        return cls(_opened("patu_netns_open_fd", (c_int32, netns_fd)))

    @classmethod
    def current(cls) -> "Netns":
        """Of the calling thread."""
        return cls(_opened("patu_netns_open_current"))

    @classmethod
    def create(cls) -> "Netns":
        """A new, empty namespace that lives as long as something holds it."""
        return cls(_opened("patu_netns_create"))

    def fileno(self) -> int:
        return _function("patu_netns_fd", c_int32, c_void_p)(self._self[1])

    def cookie(self) -> int:
        """The number that the kernel gives each namespace once; Linux 5.14."""
        cookie = c_uint64()
        _call("patu_netns_cookie", self._self, (POINTER(c_uint64), byref(cookie)))
        return cookie.value


def _netns(netns: Optional[Netns]):
    return (c_void_p, None if netns is None else netns._self[1])


# ---- Data paths


@dataclass(frozen=True)
class Program:
    name: str
    id: int
    instructions: int


@dataclass(frozen=True)
class Map:
    name: str
    id: int
    max_entries: int
    memory_bytes: int


@dataclass(frozen=True)
class Feature:
    """Something of the kernel's that was looked for, and what patu does with it or instead."""

    name: str
    available: bool
    detail: str


@dataclass(frozen=True)
class DatapathState:
    directory: str
    programs: Sequence[Program]
    maps: Sequence[Map]
    features: Sequence[Feature]
    cgroup_id: int
    socket_redirect_loaded: bool
    socket_redirect_enabled: bool
    redirect_limit_bytes: int


def _datapath_options(instance, bpffs, cgroup, socket_redirect=False, **numbers):
    """None and 0 have the header's defaults."""
    texts = [None if text is None else os.fsencode(text) for text in (instance, bpffs, cgroup)]
    return patu_datapath_options(ctypes.sizeof(patu_datapath_options), *texts, int(socket_redirect), **numbers)


@dataclass(frozen=True)
class Route:
    """What pods get beside their default route; 0 and None have the header's defaults."""

    destination: str
    gateway: Optional[str] = None
    mtu: int = 0
    advmss: int = 0
    priority: int = 0
    table: int = 0
    scope: Optional[int] = None


def _route(route: Route) -> patu_route:
    made = patu_route(ctypes.sizeof(patu_route), _parsed(patu_prefix, route.destination), mtu=route.mtu,
                      advmss=route.advmss, priority=route.priority, table=route.table,
                      flags=int(route.scope is not None), scope=route.scope or 0)
    if route.gateway is not None:
        made.gateway = _parsed(patu_address, route.gateway)
    return made


def _network_options(bridge, subnets, mtu=0, netns=None, name=None, routes=(), gateway=True, default_route=True,
                     socket_redirect=False, force_gateway=False, hairpin=False, promiscuous=False, isolated=False,
                     duplicate_address_detection=False, redirect_excluded_ports=()):
    """`netns` is the bridge's (None: the caller's), `routes` are of Route; the rest is as in patu.h."""
    options = patu_network_options(ctypes.sizeof(patu_network_options), bridge.encode(), mtu=mtu)
    options.subnets, options.subnet_count = _array(patu_subnet, map(_subnet, subnets))
    options.redirect_excluded_ports, options.redirect_excluded_port_count = _array(c_uint16, redirect_excluded_ports)
    options.routes, options.route_count = _array(patu_route, (_route(route) for route in routes))
    options.netns = _netns(netns)[1]
    options.name = None if name is None else name.encode()
    flags = (not gateway, not default_route, socket_redirect, force_gateway, hairpin, promiscuous, isolated,
             duplicate_address_detection)
    options.flags = sum(bool(flag) << bit for bit, flag in enumerate(flags))
    return options


class Datapath(_Handle):
    """BPF programs and maps, pinned below <bpffs>/patu/<instance>, serving the processes of a cgroup."""

    _close = "patu_datapath_close"

    @classmethod
    def open(cls, instance: Optional[str] = None, bpffs: Optional[str] = None, cgroup: Optional[str] = None,
             socket_redirect: bool = False, **limits: int) -> "Datapath":
        """Adopts what is pinned, or loads it. `limits` are redirect_limit_bytes and the header's three max_*."""
        options = _datapath_options(instance, bpffs, cgroup, socket_redirect, **limits)
        return cls(_opened("patu_datapath_open", (POINTER(patu_datapath_options), byref(options))))

    @classmethod
    def adopt(cls, instance: Optional[str] = None, bpffs: Optional[str] = None) -> "Datapath":
        """Adopts what is pinned, and loads and changes nothing. Raises Error "not_found" where there is nothing."""
        options = _datapath_options(instance, bpffs, None)
        return cls(_opened("patu_datapath_adopt", (POINTER(patu_datapath_options), byref(options))))

    @staticmethod
    def unload(instance: Optional[str] = None, bpffs: Optional[str] = None, cgroup: Optional[str] = None,
               force: bool = False) -> Sequence[str]:
        """Removes programs, maps and pins, and returns the pins' paths; busy while pods are attached, but for `force`."""
        options = _datapath_options(instance, bpffs, cgroup)
        return _read("names", "patu_datapath_unload", c_char_p, str, (POINTER(patu_datapath_options), byref(options)),
                     (c_uint32, int(force)))

    def status(self) -> DatapathState:
        pointer = POINTER(patu_datapath_state)()
        _call("patu_datapath_status", self._self, (POINTER(POINTER(patu_datapath_state)), byref(pointer)))
        try:
            state = pointer.contents
            return DatapathState(
                _text(state.directory),
                [Program(_text(p.name), p.id, p.instructions) for p in _items("programs", state.programs, patu_program)],
                [Map(_text(m.name), m.id, m.max_entries, m.memory_bytes) for m in _items("maps", state.maps, patu_map)],
                [Feature(_text(f.name), bool(f.available), _text(f.detail))
                 for f in _items("features", state.features, patu_feature)],
                state.cgroup_id, bool(state.socket_redirect_loaded), bool(state.socket_redirect_enabled),
                state.redirect_limit_bytes)
        finally:
            _free("patu_datapath_state_free", pointer)

    def set_socket_redirect(self, enabled: bool) -> None:
        _call("patu_datapath_set_socket_redirect", self._self, (c_int32, int(enabled)))

    def network(self, bridge: str, subnets: Sequence[str], **options) -> "Network":
        """Creates the bridge, or adopts one that is as asked for. `subnets`: "10.200.0.0/24"; a pod gets an address of each
        family from the first one with room. `options` are those of _network_options."""
        given = _network_options(bridge, subnets, **options)
        return Network(_opened("patu_network_open", self._self, (POINTER(patu_network_options), byref(given))))

    def adopt_network(self, bridge: str, subnets: Sequence[str] = (), **options) -> "Network":
        """The same for whoever only looks, repairs or takes away: makes and changes nothing, also where the bridge is gone."""
        given = _network_options(bridge, subnets, **options)
        return Network(_opened("patu_network_adopt", self._self, (POINTER(patu_network_options), byref(given))))

    def pool(self, prefix: str, reserved: Sequence[str] = (), **bounds: str) -> "AddressPool":
        """For addresses that no network hands out. `bounds` are gateway, first and last; the header has their defaults."""
        subnet = _subnet(prefix, reserved, **bounds)
        return AddressPool(_opened("patu_address_pool_open", self._self, (POINTER(patu_subnet), byref(subnet))))

    def services(self, node: Optional[Netns] = None) -> "Services":
        """`node` is the namespace whose addresses node ports are on; None: the caller's."""
        return Services(_opened("patu_service_table_open", self._self, _netns(node)))


# ---- Address pools


@dataclass(frozen=True)
class Subnet:
    """What a pool hands out: all from first to last but the gateway and the reserved ones."""

    prefix: str
    gateway: Address
    first: Address
    last: Address
    reserved: Sequence[Address]


@dataclass(frozen=True)
class Lease:
    """acquired_ns is of CLOCK_BOOTTIME."""

    container_id: str
    ifname: str
    address: Address
    acquired_ns: int


def _id(container_id, ifname="eth0"):
    return patu_attachment_id(container_id.encode(), ifname.encode())


def _id_pair(attachment_id):
    return _text(attachment_id.container_id), _text(attachment_id.ifname)


def _subnet(prefix, reserved=(), **bounds):
    subnet = patu_subnet(ctypes.sizeof(patu_subnet), prefix=_parsed(patu_prefix, prefix),
                         **{name: _parsed(patu_address, bound) for name, bound in bounds.items()})
    subnet.reserved_addresses, subnet.reserved_address_count = _array(
        patu_address, (_parsed(patu_address, each) for each in reserved))
    return subnet


def _lease(lease: patu_lease) -> Lease:
    return Lease(*_id_pair(lease.owner), _address(lease.address), lease.acquired_ns)


@dataclass(frozen=True)
class PoolUsage:
    """`leased` counts reserved addresses that were requested, too; `free` those that acquire can choose from."""

    capacity: int
    leased: int
    free: int


class AddressPool(_Handle):
    """Addresses of a prefix, leased in a pinned map that all processes share; an owner has at most one."""

    _close = "patu_address_pool_close"

    def acquire(self, container_id: str, ifname: str = "eth0", requested: Optional[str] = None) -> Address:
        """Leases `requested`, or a free address in turn; the same again to an owner who has one."""
        wanted = None if requested is None else byref(_parsed(patu_address, requested))
        return self._address_of("patu_address_pool_acquire", container_id, ifname, (POINTER(patu_address), wanted))

    def release(self, container_id: str, ifname: str = "eth0") -> None:
        """Success where the owner has nothing."""
        _call("patu_address_pool_release", *self._owner(container_id, ifname))

    def find(self, container_id: str, ifname: str = "eth0") -> Address:
        """The owner's address. Raises Error "not_found"."""
        return self._address_of("patu_address_pool_find", container_id, ifname)

    def list(self) -> Sequence[Lease]:
        """All leases, by address."""
        return _read("leases", "patu_address_pool_list", patu_lease, _lease, self._self)

    def usage(self) -> PoolUsage:
        usage = patu_pool_usage()
        _call("patu_address_pool_usage", self._self, (POINTER(patu_pool_usage), byref(usage)))
        return PoolUsage(usage.capacity, usage.leased, usage.free)

    @property
    def subnet(self) -> Subnet:
        """With its defaults filled in."""
        found = _function("patu_address_pool_subnet", POINTER(patu_subnet), c_void_p)(self._self[1]).contents
        return Subnet(_formatted(found.prefix), _address(found.gateway), _address(found.first), _address(found.last),
                      [_address(each) for each in found.reserved_addresses[:found.reserved_address_count]])

    def _owner(self, container_id, ifname):
        return self._self, (POINTER(patu_attachment_id), byref(_id(container_id, ifname)))

    def _address_of(self, name, container_id, ifname, *arguments):
        address = patu_address()
        _call(name, *self._owner(container_id, ifname), *arguments, (POINTER(patu_address), byref(address)))
        return _address(address)


# ---- Networks


@dataclass(frozen=True)
class Pod:
    """What to attach. `socket_redirect` None: as the network has it."""

    container_id: str
    netns: Netns
    ifname: str = "eth0"
    addresses: Sequence[str] = ()
    mac: Optional[str] = None
    socket_redirect: Optional[bool] = None
    no_services: bool = False


@dataclass(frozen=True)
class Attachment:
    container_id: str
    ifname: str
    host_ifname: str
    host_ifindex: int
    addresses: Sequence[Interface]
    gateways: Sequence[Address]
    mtu: int
    mac: str
    host_mac: str
    socket_redirect: bool
    no_services: bool


@dataclass(frozen=True)
class Deviation:
    """`kind` is one of DEVIATIONS.values(); `destination` is that of a route."""

    container_id: str
    ifname: str
    kind: str
    what: str
    destination: Optional[str] = None


@dataclass(frozen=True)
class ReconcileReport:
    """Attachments as (container_id, ifname)."""

    detached: Sequence[tuple]
    released: Sequence[Address]
    repaired: Sequence[tuple]


def _pod_spec(pod: Pod) -> patu_pod_spec:
    spec = patu_pod_spec(ctypes.sizeof(patu_pod_spec), _id(pod.container_id, pod.ifname), _netns(pod.netns)[1])
    spec.addresses, spec.address_count = _array(patu_address, (_parsed(patu_address, each) for each in pod.addresses))
    spec.flags = {None: 0, True: 1, False: 2}[pod.socket_redirect] | pod.no_services * 4
    if pod.mac is not None:
        spec.mac = _parsed(patu_mac, pod.mac)
    return spec


def _attachment(made: patu_attachment) -> Attachment:
    addresses = [ipaddress.ip_interface(f"{_formatted(each.address)}/{each.prefix_length}")
                 for each in made.addresses[:made.address_count]]
    gateways = [_address(each) for each in made.gateways[:made.gateway_count]]
    return Attachment(*_id_pair(made.id), _text(made.host_ifname), made.host_ifindex, addresses, gateways, made.mtu,
                      _formatted(made.mac), _formatted(made.host_mac), bool(made.flags & 1), bool(made.flags & 4))


def _deviation(found: patu_deviation) -> Deviation:
    return Deviation(*_id_pair(found.id), DEVIATIONS.get(found.kind, str(found.kind)), _text(found.what),
                     _formatted(found.destination.contents) if found.destination else None)


class Network(_Handle):
    """A bridge and the pods on it."""

    _close = "patu_network_close"

    @property
    def bridge(self) -> str:
        return _text(_function("patu_network_bridge", c_char_p, c_void_p)(self._self[1]))

    @property
    def bridge_ifindex(self) -> int:
        return _function("patu_network_bridge_ifindex", c_uint32, c_void_p)(self._self[1])

    @property
    def bridge_mac(self) -> str:
        mac = patu_mac()
        _call("patu_network_bridge_mac", self._self, (POINTER(patu_mac), byref(mac)))
        return _formatted(mac)

    def attach(self, *pods: Pod) -> Sequence[Attachment]:
        """Makes a complete interface in each pod's namespace: all of them or none. In the order of the pods."""
        specs, count = _array(patu_pod_spec, map(_pod_spec, pods))
        return _read("attachments", "patu_network_attach", patu_attachment, _attachment, self._self,
                     (POINTER(patu_pod_spec), specs), (c_size_t, count))

    def detach(self, *container_ids: str, ifname: str = "eth0") -> None:
        """Removes interfaces, addresses and map entries; success where there is nothing."""
        ids, count = _array(patu_attachment_id, (_id(each, ifname) for each in container_ids))
        _call("patu_network_detach", self._self, (POINTER(patu_attachment_id), ids), (c_size_t, count))

    def abandon(self, container_id: str, ifname: str = "eth0") -> None:
        """For a pod whose namespace is about to be destroyed: does not wait for the interface's removal."""
        _call("patu_network_abandon", self._self, (POINTER(patu_attachment_id), byref(_id(container_id, ifname))))

    def check(self, container_id: Optional[str] = None, ifname: str = "eth0",
              netns: Optional[Netns] = None) -> Sequence[Deviation]:
        """What is not as attach left it; of all attachments if none is named. With `netns`, also inside of the pod."""
        which = None if container_id is None else byref(_id(container_id, ifname))
        return _read("deviations", "patu_network_check", patu_deviation, _deviation, self._self,
                     (POINTER(patu_attachment_id), which), _netns(netns))

    def list(self) -> Sequence[Attachment]:
        return _read("attachments", "patu_network_list", patu_attachment, _attachment, self._self)

    def find(self, container_id: str, ifname: str = "eth0") -> Attachment:
        """Raises Error "not_found"."""
        (found,) = _read("attachments", "patu_network_find", patu_attachment, _attachment, self._self,
                         (POINTER(patu_attachment_id), byref(_id(container_id, ifname))))
        return found

    def reconcile(self, keep: Optional[Iterable[tuple]] = None) -> ReconcileReport:
        """Repairs what a killed process left. With `keep`, (container_id, ifname) each, it detaches all others."""
        pointer = POINTER(patu_reconcile_report)()
        out = (POINTER(POINTER(patu_reconcile_report)), byref(pointer))
        if keep is None:
            _call("patu_network_reconcile", self._self, out)
        else:
            keep = list(keep)
            if any(isinstance(each, str) for each in keep):
                raise TypeError("keep is of (container_id, ifname), not of names")
            ids, count = _array(patu_attachment_id, (_id(*each) for each in keep))
            _call("patu_network_reconcile_keep", self._self, (POINTER(patu_attachment_id), ids), (c_size_t, count), out)
        try:
            report = pointer.contents
            return ReconcileReport(
                [_id_pair(each) for each in _items("ids", report.detached, patu_attachment_id)],
                [_address(each) for each in _items("addresses", report.released, patu_address)],
                [_id_pair(each) for each in _items("ids", report.repaired, patu_attachment_id)])
        finally:
            _free("patu_reconcile_report_free", pointer)

    def remove(self) -> None:
        """Removes the bridge; busy while pods are attached."""
        _call("patu_network_remove", self._self)


# ---- Services


@dataclass(frozen=True)
class Frontend:
    """Where clients connect to: "10.96.0.10:80" or "[fd00::1]:80"."""

    endpoint: str
    protocol: str = "tcp"
    kind: str = "cluster"
    loopback: bool = False
    reserve_port: bool = False


@dataclass(frozen=True)
class Backend:
    endpoint: str
    weight: int = 1
    state: str = "active"
    local: bool = False


@dataclass(frozen=True)
class Service:
    name: str
    frontends: Sequence[Frontend]
    backends: Sequence[Backend] = ()
    affinity_seconds: int = 0
    internal_local: bool = False
    close_tcp: bool = False


@dataclass(frozen=True)
class ClosedSockets:
    closed: int
    namespaces: int
    unreachable: int


@dataclass(frozen=True)
class Refusal:
    """A service that sync could not take; `code` as in Error."""

    name: str
    code: int
    reason: str


@dataclass(frozen=True)
class SyncReport:
    added: Sequence[str]
    changed: Sequence[str]
    removed: Sequence[str]
    refused: Sequence[Refusal]
    unchanged: int
    closed: ClosedSockets


@dataclass(frozen=True)
class ServiceStats:
    name: str
    connects: int
    refused: int
    retries: int
    affinity_hits: int


@dataclass(frozen=True)
class Gauge:
    """How full a map is."""

    name: str
    used: int
    limit: int


@dataclass(frozen=True)
class Explanation:
    """What the kernel would do with a socket: `verdict` is "untouched", "translated" or "refused"."""

    verdict: str
    why: str
    service: Optional[str]
    frontend: Optional[Frontend]
    candidates: Sequence[Backend]
    preferred: Optional[str]


@dataclass(frozen=True)
class Event:
    kind: str
    service: Optional[str]
    endpoint: str
    protocol: str
    netns_cookie: int
    time_ns: int


def _word(words, number):
    return next((word for word, known in words.items() if known == number), str(number))


def _to_frontend(front: Frontend) -> patu_frontend:
    return patu_frontend(_parsed(patu_endpoint, front.endpoint), PROTOCOLS[front.protocol], FRONTEND_KINDS.index(front.kind),
                         front.loopback * 1 | front.reserve_port * 2)


def _to_backend(back: Backend) -> patu_backend:
    return patu_backend(_parsed(patu_endpoint, back.endpoint), back.weight, int(back.local), BACKEND_STATES.index(back.state))


def _to_service(service: Service) -> patu_service:
    made = patu_service(ctypes.sizeof(patu_service), service.name.encode(), affinity_seconds=service.affinity_seconds)
    made.frontends, made.frontend_count = _array(patu_frontend, map(_to_frontend, service.frontends))
    made.backends, made.backend_count = _array(patu_backend, map(_to_backend, service.backends))
    made.flags = service.internal_local * 1 | service.close_tcp * 2
    return made


def _frontend(front: patu_frontend) -> Frontend:
    return Frontend(_formatted(front.endpoint), _word(PROTOCOLS, front.protocol), FRONTEND_KINDS[front.kind],
                    bool(front.flags & 1), bool(front.flags & 2))


def _backend(back: patu_backend) -> Backend:
    return Backend(_formatted(back.endpoint), back.weight, BACKEND_STATES[back.state], bool(back.flags & 1))


def _service(service: patu_service) -> Service:
    return Service(_text(service.name), [_frontend(each) for each in service.frontends[:service.frontend_count]],
                   [_backend(each) for each in service.backends[:service.backend_count]], service.affinity_seconds,
                   bool(service.flags & 1), bool(service.flags & 2))


def _closed(sockets: patu_closed_sockets) -> ClosedSockets:
    return ClosedSockets(sockets.closed, sockets.namespaces, sockets.unreachable)


def _event(event: patu_event) -> Event:
    return Event(EVENTS.get(event.kind, str(event.kind)), _text(event.service), _formatted(event.frontend.endpoint),
                 _word(PROTOCOLS, event.frontend.protocol), event.netns_cookie, event.time_ns)


class Services(_Handle):
    """The service table of a data path."""

    _close = "patu_service_table_close"

    def upsert(self, service: Service) -> None:
        """Makes the service be exactly this."""
        made = _to_service(service)
        _call("patu_service_table_upsert", self._self, (POINTER(patu_service), byref(made)))

    def remove(self, name: str) -> None:
        """Success where there is none of that name."""
        _call("patu_service_table_remove", self._self, (c_char_p, name.encode()))

    def sync(self, services: Iterable[Service], allow_empty: bool = False, dry_run: bool = False) -> SyncReport:
        """Makes the table be exactly this; what cannot be taken is in the report, and is as it was."""
        made, count = _array(patu_service, map(_to_service, services))
        pointer = POINTER(patu_sync_report)()
        _call("patu_service_table_sync", self._self, (POINTER(patu_service), made), (c_size_t, count),
              (c_uint32, allow_empty * 1 | dry_run * 2), (POINTER(POINTER(patu_sync_report)), byref(pointer)))
        try:
            report = pointer.contents
            added, changed, removed = (_items("names", each, c_char_p)
                                       for each in (report.added, report.changed, report.removed))
            refused = [Refusal(_text(each.name), each.code, _text(each.reason))
                       for each in _items("refusals", report.refused, patu_refusal)]
            return SyncReport(added, changed, removed, refused, report.unchanged, _closed(report.closed))
        finally:
            _free("patu_sync_report_free", pointer)

    def find(self, name: str) -> Service:
        """As it is in the kernel. Raises Error "not_found"."""
        (found,) = _read("services", "patu_service_table_find", patu_service, _service, self._self,
                         (c_char_p, name.encode()))
        return found

    def list(self) -> Sequence[Service]:
        """All, sorted by name, as they were at one moment."""
        return _read("services", "patu_service_table_list", patu_service, _service, self._self)

    def stats(self) -> Sequence[ServiceStats]:
        return _read("stats", "patu_service_table_stats", patu_service_stats,
                     lambda of: ServiceStats(_text(of.name), of.connects, of.refused, of.retries, of.affinity_hits), self._self)

    def fill(self) -> Sequence[Gauge]:
        return _read("gauges", "patu_service_table_fill", patu_gauge,
                     lambda gauge: Gauge(_text(gauge.name), gauge.used, gauge.limit), self._self)

    def explain(self, endpoint: str, protocol: str = "tcp", netns: Optional[Netns] = None) -> Explanation:
        """What the kernel would do with a socket of `netns` that connects there, and why."""
        pointer = POINTER(patu_explanation)()
        to = _parsed(patu_endpoint, endpoint)
        _call("patu_service_table_explain", self._self, (POINTER(patu_endpoint), byref(to)), (c_uint32, PROTOCOLS[protocol]),
              _netns(netns), (POINTER(POINTER(patu_explanation)), byref(pointer)))
        try:
            found = pointer.contents
            return Explanation(
                VERDICTS[found.verdict], _text(found.why), _text(found.service),
                _frontend(found.frontend.contents) if found.frontend else None,
                [_backend(each) for each in found.candidates[:found.candidate_count]],
                _formatted(found.preferred.contents) if found.preferred else None)
        finally:
            _free("patu_explanation_free", pointer)

    def refresh_node_addresses(self) -> Sequence[Address]:
        """Reads the node's addresses again, and returns them."""
        return _read("addresses", "patu_service_table_refresh_node_addresses", patu_address, _address, self._self)

    def close_stale_sockets(self) -> ClosedSockets:
        """Closes sockets whose backend was taken out; upsert, remove and sync do it by themselves."""
        closed = patu_closed_sockets()
        _call("patu_service_table_close_stale_sockets", self._self, (POINTER(patu_closed_sockets), byref(closed)))
        return _closed(closed)

    def events(self) -> "EventReader":
        """One reader of an instance at a time."""
        return EventReader(_opened("patu_event_reader_open", self._self))


class EventReader(_Handle):
    """What happens to services, at most one event a second for each. Has fileno(), for select and asyncio."""

    _close = "patu_event_reader_close"

    def fileno(self) -> int:
        return _function("patu_event_reader_fd", c_int32, c_void_p)(self._self[1])

    def read(self) -> Sequence[Event]:
        """What there is, perhaps nothing, without waiting."""
        return _read("events", "patu_event_reader_read", patu_event, _event, self._self)


def version() -> str:
    """Of the library that is loaded."""
    number = _function("patu_version", c_uint32)()
    return f"{number >> 16}.{number >> 8 & 255}.{number & 255}"
