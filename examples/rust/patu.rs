// patu for Rust: safe types over its C ABI, as much of it as the host needs.
use std::ffi::{CStr, CString};
use std::fmt;
use std::mem::size_of;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::raw::c_char;
use std::ptr::{null, null_mut};

use crate::ffi;

// A call that failed: `code` to branch on, `errno` of the kernel (0: no system call was involved), and a sentence.
#[derive(Debug)]
pub struct Error {
    pub code: i32,
    pub errno: i32,
    text: String,
}

impl Error {
    // "not_found", "busy" and so on.
    pub fn name(&self) -> String {
        unsafe { text_of(ffi::patu_status_name(self.code)) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}: {}", self.name(), self.text)
    }
}

impl std::error::Error for Error {}

pub type Result<T> = std::result::Result<T, Error>;

fn check(call: impl FnOnce(*mut ffi::error) -> i32) -> Result<()> {
    let mut error = null_mut();
    let code = call(&mut error);
    if code == 0 {
        return Ok(());
    }
    unsafe {
        let failure = Error { code, errno: ffi::patu_error_errno(error), text: text_of(ffi::patu_error_text(error)) };
        ffi::patu_error_free(error);
        Err(failure)
    }
}

// What the call writes through its first pointer.
fn checked<T>(call: impl FnOnce(*mut *mut T, *mut ffi::error) -> i32) -> Result<*mut T> {
    let mut result = null_mut();
    check(|error| call(&mut result, error))?;
    Ok(result)
}

unsafe fn text_of(text: *const c_char) -> String {
    CStr::from_ptr(text).to_string_lossy().into_owned()
}

fn c_text(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error {
        code: ffi::E_INVALID_ARGUMENT,
        errno: 0,
        text: format!("{:?} has a zero byte", text),
    })
}

fn pointer_of(text: &Option<CString>) -> *const c_char {
    text.as_ref().map_or(null(), |text| text.as_ptr())
}

// An array of the library's may be NULL when it is empty, which Rust's slices may not.
unsafe fn slice_of<'a, T>(first: *const T, count: usize) -> &'a [T] {
    if count == 0 {
        &[]
    } else {
        std::slice::from_raw_parts(first, count)
    }
}

fn to_address(address: IpAddr) -> ffi::patu_address {
    let bytes = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    ffi::patu_address { bytes }
}

fn from_address(address: &ffi::patu_address) -> IpAddr {
    match address.bytes {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] => IpAddr::from([a, b, c, d]),
        bytes => IpAddr::V6(Ipv6Addr::from(bytes)),
    }
}

fn to_endpoint(endpoint: SocketAddr) -> ffi::patu_endpoint {
    ffi::patu_endpoint { address: to_address(endpoint.ip()), port: endpoint.port() }
}

fn from_endpoint(endpoint: &ffi::patu_endpoint) -> SocketAddr {
    SocketAddr::new(from_address(&endpoint.address), endpoint.port)
}

// A handle that is closed when it goes out of scope, which ends nothing in the kernel. Another thread may use it later, but
// no two at a time: Send, not Sync.
macro_rules! handle {
    ($name:ident, $close:path) => {
        pub struct $name(ffi::handle);

        unsafe impl Send for $name {}

        impl Drop for $name {
            fn drop(&mut self) {
                unsafe { $close(self.0) }
            }
        }
    };
}

handle!(Netns, ffi::patu_netns_close);
handle!(Datapath, ffi::patu_datapath_close);
handle!(Network, ffi::patu_network_close);
handle!(Services, ffi::patu_service_table_close);

impl Netns {
    // A new, empty namespace that lives as long as something holds it.
    pub fn create() -> Result<Netns> {
        checked(|netns, error| unsafe { ffi::patu_netns_create(netns, error) }).map(Netns)
    }

    // Such as /run/netns/NAME or /proc/PID/ns/net.
    pub fn of_path(path: &str) -> Result<Netns> {
        let path = c_text(path)?;
        checked(|netns, error| unsafe { ffi::patu_netns_open_path(path.as_ptr(), netns, error) }).map(Netns)
    }
}

// Which instance; what is None has the library's default.
#[derive(Default)]
pub struct DatapathOptions {
    pub instance: Option<String>,
    pub bpffs: Option<String>,
    pub cgroup: Option<String>,
}

impl DatapathOptions {
    fn lend<T>(&self, call: impl FnOnce(&ffi::patu_datapath_options) -> Result<T>) -> Result<T> {
        let text = |text: &Option<String>| text.as_deref().map(c_text).transpose();
        let (instance, bpffs, cgroup) = (text(&self.instance)?, text(&self.bpffs)?, text(&self.cgroup)?);
        call(&ffi::patu_datapath_options {
            struct_size: size_of::<ffi::patu_datapath_options>(),
            instance: pointer_of(&instance),
            bpffs: pointer_of(&bpffs),
            cgroup: pointer_of(&cgroup),
            flags: 0,
            redirect_limit_bytes: 0,
            max_pods: 0,
            max_services: 0,
            max_redirected_sockets: 0,
            reserved: 0,
        })
    }
}

impl Datapath {
    pub fn open(options: &DatapathOptions) -> Result<Datapath> {
        options.lend(|options| {
            checked(|datapath, error| unsafe { ffi::patu_datapath_open(options, datapath, error) }).map(Datapath)
        })
    }

    pub fn unload(options: &DatapathOptions) -> Result<()> {
        options.lend(|options| check(|error| unsafe { ffi::patu_datapath_unload(options, 0, null_mut(), error) }))
    }

    // Creates the bridge, or adopts it. `subnets` are (network, prefix length).
    pub fn network(&self, bridge: &str, subnets: &[(IpAddr, u32)]) -> Result<Network> {
        let bridge = c_text(bridge)?;
        let none = ffi::patu_address::default();
        let subnet = |&(network, length): &(IpAddr, u32)| ffi::patu_subnet {
            struct_size: size_of::<ffi::patu_subnet>(),
            reserved_addresses: null(),
            reserved_address_count: 0,
            prefix: ffi::patu_prefix { network: to_address(network), length },
            gateway: none,
            first: none,
            last: none,
            reserved: 0,
        };
        let subnets: Vec<_> = subnets.iter().map(subnet).collect();
        let options = ffi::patu_network_options {
            struct_size: size_of::<ffi::patu_network_options>(),
            bridge: bridge.as_ptr(),
            subnets: subnets.as_ptr(),
            subnet_count: subnets.len(),
            redirect_excluded_ports: null(),
            redirect_excluded_port_count: 0,
            netns: null(),
            mtu: 0,
            flags: 0,
            name: null(),
            routes: null(),
            route_count: 0,
        };
        checked(|network, error| unsafe { ffi::patu_network_open(self.0, &options, network, error) }).map(Network)
    }

    pub fn services(&self) -> Result<Services> {
        checked(|table, error| unsafe { ffi::patu_service_table_open(self.0, null_mut(), table, error) }).map(Services)
    }
}

pub struct Pod<'a> {
    pub container_id: &'a str,
    pub netns: &'a Netns,
}

pub struct Attachment {
    pub container_id: String,
    pub addresses: Vec<(IpAddr, u32)>, // with the length of the prefix that is on link
    pub mtu: u32,
}

fn id_of(container_id: &CStr) -> ffi::patu_attachment_id {
    ffi::patu_attachment_id { container_id: container_id.as_ptr(), ifname: null() }
}

impl Network {
    pub fn bridge(&self) -> String {
        unsafe { text_of(ffi::patu_network_bridge(self.0)) }
    }

    // Makes a complete interface "eth0" in each pod: all of them or none.
    pub fn attach(&mut self, pods: &[Pod]) -> Result<Vec<Attachment>> {
        let ids = pods.iter().map(|pod| c_text(pod.container_id)).collect::<Result<Vec<_>>>()?;
        let spec = |(pod, id): (&Pod, &CString)| ffi::patu_pod_spec {
            struct_size: size_of::<ffi::patu_pod_spec>(),
            id: id_of(id),
            netns: pod.netns.0,
            addresses: null(),
            address_count: 0,
            flags: 0,
            mac: [0; 6],
            reserved: [0; 3],
        };
        let specs: Vec<_> = pods.iter().zip(&ids).map(spec).collect();
        let made = checked(|made, error| unsafe {
            ffi::patu_network_attach(self.0, specs.as_ptr(), specs.len(), made, error)
        })?;
        unsafe {
            let attachments = (0..ffi::patu_attachments_count(made))
                .map(|index| attachment_of(&*ffi::patu_attachments_at(made, index)))
                .collect();
            ffi::patu_attachments_free(made);
            Ok(attachments)
        }
    }

    pub fn detach(&mut self, container_ids: &[&str]) -> Result<()> {
        let names = container_ids.iter().map(|id| c_text(id)).collect::<Result<Vec<_>>>()?;
        let ids: Vec<_> = names.iter().map(|name| id_of(name)).collect();
        check(|error| unsafe { ffi::patu_network_detach(self.0, ids.as_ptr(), ids.len(), error) })
    }

    // Removes the bridge; busy while pods are attached.
    pub fn remove(&mut self) -> Result<()> {
        check(|error| unsafe { ffi::patu_network_remove(self.0, error) })
    }
}

unsafe fn attachment_of(made: &ffi::patu_attachment) -> Attachment {
    let addresses = slice_of(made.addresses, made.address_count);
    Attachment {
        container_id: text_of(made.id.container_id),
        addresses: addresses.iter().map(|each| (from_address(&each.address), each.prefix_length)).collect(),
        mtu: made.mtu,
    }
}

#[derive(Clone, Copy)]
pub enum Protocol {
    Tcp = ffi::TCP as isize,
    Udp = ffi::UDP as isize,
}

pub struct Service {
    pub name: String,
    pub frontends: Vec<(Protocol, SocketAddr)>,
    pub backends: Vec<SocketAddr>,
}

pub struct SyncReport {
    pub added: Vec<String>,
    pub changed: Vec<String>,
    pub removed: Vec<String>,
    pub refused: usize,
    pub unchanged: usize,
}

pub struct ServiceStats {
    pub name: String,
    pub connects: u64,
    pub refused: u64,
}

#[derive(Debug)]
pub enum Verdict {
    Untouched,
    Translated,
    Refused,
}

pub struct Explanation {
    pub verdict: Verdict,
    pub why: String,
    pub candidates: Vec<SocketAddr>,
}

// A service as the library takes it, with what its pointers lead to.
struct Lent {
    name: CString,
    frontends: Vec<ffi::patu_frontend>,
    backends: Vec<ffi::patu_backend>,
}

impl Lent {
    fn of(service: &Service) -> Result<Lent> {
        let frontend = |&(protocol, endpoint): &(Protocol, SocketAddr)| ffi::patu_frontend {
            endpoint: to_endpoint(endpoint),
            protocol: protocol as u8,
            ..Default::default()
        };
        let backend =
            |&endpoint: &SocketAddr| ffi::patu_backend { endpoint: to_endpoint(endpoint), ..Default::default() };
        Ok(Lent {
            name: c_text(&service.name)?,
            frontends: service.frontends.iter().map(frontend).collect(),
            backends: service.backends.iter().map(backend).collect(),
        })
    }

    fn view(&self) -> ffi::patu_service {
        ffi::patu_service {
            struct_size: size_of::<ffi::patu_service>(),
            name: self.name.as_ptr(),
            frontends: self.frontends.as_ptr(),
            frontend_count: self.frontends.len(),
            backends: self.backends.as_ptr(),
            backend_count: self.backends.len(),
            affinity_seconds: 0,
            flags: 0,
        }
    }
}

unsafe fn names_of(names: *const std::os::raw::c_void) -> Vec<String> {
    (0..ffi::patu_names_count(names)).map(|index| text_of(ffi::patu_names_at(names, index))).collect()
}

impl Services {
    // Makes the table be exactly this; an empty one is refused, as it is mostly a mistake.
    pub fn sync(&mut self, services: &[Service]) -> Result<SyncReport> {
        let lent = services.iter().map(Lent::of).collect::<Result<Vec<_>>>()?;
        let views: Vec<_> = lent.iter().map(Lent::view).collect();
        let report = checked(|report, error| unsafe {
            ffi::patu_service_table_sync(self.0, views.as_ptr(), views.len(), 0, report, error)
        })?;
        unsafe {
            let found = SyncReport {
                added: names_of((*report).added),
                changed: names_of((*report).changed),
                removed: names_of((*report).removed),
                refused: ffi::patu_refusals_count((*report).refused),
                unchanged: (*report).unchanged,
            };
            ffi::patu_sync_report_free(report);
            Ok(found)
        }
    }

    pub fn remove(&mut self, name: &str) -> Result<()> {
        let name = c_text(name)?;
        check(|error| unsafe { ffi::patu_service_table_remove(self.0, name.as_ptr(), error) })
    }

    pub fn stats(&self) -> Result<Vec<ServiceStats>> {
        let stats = checked(|stats, error| unsafe { ffi::patu_service_table_stats(self.0, stats, error) })?;
        unsafe {
            let found = (0..ffi::patu_stats_count(stats))
                .map(|index| &*ffi::patu_stats_at(stats, index))
                .map(|of| ServiceStats { name: text_of(of.name), connects: of.connects, refused: of.refused })
                .collect();
            ffi::patu_stats_free(stats);
            Ok(found)
        }
    }

    // What the kernel would do with a socket that connects there.
    pub fn explain(&self, protocol: Protocol, to: SocketAddr) -> Result<Explanation> {
        let to = to_endpoint(to);
        let explanation = checked(|explanation, error| unsafe {
            ffi::patu_service_table_explain(self.0, &to, protocol as u32, null_mut(), explanation, error)
        })?;
        unsafe {
            let candidates = slice_of((*explanation).candidates, (*explanation).candidate_count);
            let found = Explanation {
                verdict: match (*explanation).verdict {
                    0 => Verdict::Untouched,
                    1 => Verdict::Translated,
                    _ => Verdict::Refused,
                },
                why: text_of((*explanation).why),
                candidates: candidates.iter().map(|each| from_endpoint(&each.endpoint)).collect(),
            };
            ffi::patu_explanation_free(explanation);
            Ok(found)
        }
    }
}
