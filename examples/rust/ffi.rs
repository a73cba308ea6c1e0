// What the host uses of bindings/c/include/patu/patu.h, as Rust sees it.
#![allow(non_camel_case_types)]

use std::mem::size_of;
use std::os::raw::{c_char, c_void};

pub const E_INVALID_ARGUMENT: i32 = -1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct patu_address {
    pub bytes: [u8; 16],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct patu_prefix {
    pub network: patu_address,
    pub length: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct patu_interface_address {
    pub address: patu_address,
    pub prefix_length: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct patu_endpoint {
    pub address: patu_address,
    pub port: u16,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct patu_attachment_id {
    pub container_id: *const c_char,
    pub ifname: *const c_char,
}

#[repr(C)]
pub struct patu_datapath_options {
    pub struct_size: usize,
    pub instance: *const c_char,
    pub bpffs: *const c_char,
    pub cgroup: *const c_char,
    pub flags: u32,
    pub redirect_limit_bytes: u32,
    pub max_pods: u32,
    pub max_services: u32,
    pub max_redirected_sockets: u32,
    pub reserved: u32,
}

#[repr(C)]
pub struct patu_subnet {
    pub struct_size: usize,
    pub reserved_addresses: *const patu_address,
    pub reserved_address_count: usize,
    pub prefix: patu_prefix,
    pub gateway: patu_address,
    pub first: patu_address,
    pub last: patu_address,
    pub reserved: u32,
}

#[repr(C)]
pub struct patu_network_options {
    pub struct_size: usize,
    pub bridge: *const c_char,
    pub subnets: *const patu_subnet,
    pub subnet_count: usize,
    pub redirect_excluded_ports: *const u16,
    pub redirect_excluded_port_count: usize,
    pub netns: *const c_void,
    pub mtu: u32,
    pub flags: u32,
    pub name: *const c_char,
    pub routes: *const c_void,
    pub route_count: usize,
}

#[repr(C)]
pub struct patu_pod_spec {
    pub struct_size: usize,
    pub id: patu_attachment_id,
    pub netns: *const c_void,
    pub addresses: *const patu_address,
    pub address_count: usize,
    pub flags: u32,
    pub mac: [u8; 6],
    pub reserved: [u16; 3],
}

#[repr(C)]
pub struct patu_attachment {
    pub struct_size: usize,
    pub id: patu_attachment_id,
    pub host_ifname: *const c_char,
    pub addresses: *const patu_interface_address,
    pub address_count: usize,
    pub gateways: *const patu_address,
    pub gateway_count: usize,
    pub host_ifindex: u32,
    pub mtu: u32,
    pub flags: u32,
    pub mac: [u8; 6],
    pub host_mac: [u8; 6],
}

#[repr(C)]
#[derive(Default)]
pub struct patu_frontend {
    pub endpoint: patu_endpoint,
    pub protocol: u8,
    pub kind: u8,
    pub flags: u32,
    pub reserved: [u32; 2],
}

#[repr(C)]
#[derive(Default)]
pub struct patu_backend {
    pub endpoint: patu_endpoint,
    pub weight: u16,
    pub flags: u32,
    pub state: u8,
    pub reserved: [u8; 7],
}

#[repr(C)]
pub struct patu_service {
    pub struct_size: usize,
    pub name: *const c_char,
    pub frontends: *const patu_frontend,
    pub frontend_count: usize,
    pub backends: *const patu_backend,
    pub backend_count: usize,
    pub affinity_seconds: u32,
    pub flags: u32,
}

#[repr(C)]
pub struct patu_closed_sockets {
    pub closed: u32,
    pub namespaces: u32,
    pub unreachable: u32,
    pub reserved: u32,
}

#[repr(C)]
pub struct patu_sync_report {
    pub struct_size: usize,
    pub added: *const c_void,
    pub changed: *const c_void,
    pub removed: *const c_void,
    pub refused: *const c_void,
    pub unchanged: usize,
    pub closed: patu_closed_sockets,
}

#[repr(C)]
pub struct patu_service_stats {
    pub struct_size: usize,
    pub name: *const c_char,
    pub connects: u64,
    pub refused: u64,
    pub retries: u64,
    pub affinity_hits: u64,
}

#[repr(C)]
pub struct patu_explanation {
    pub struct_size: usize,
    pub why: *const c_char,
    pub service: *const c_char,
    pub frontend: *const patu_frontend,
    pub candidates: *const patu_backend,
    pub candidate_count: usize,
    pub preferred: *const patu_endpoint,
    pub verdict: u32,
    pub reserved: u32,
}

// A slip above does not compile: these are the sizes of tests/abi/layout-64.txt.
macro_rules! sizes {
    ($($name:ident = $bytes:expr),* $(,)?) => {
        $(#[cfg(target_pointer_width = "64")] const _: () = assert!(size_of::<$name>() == $bytes);)*
    };
}
sizes! {
    patu_prefix = 20, patu_interface_address = 20, patu_endpoint = 18, patu_attachment_id = 16, patu_datapath_options = 56,
    patu_subnet = 96, patu_network_options = 88, patu_pod_spec = 64, patu_attachment = 88, patu_frontend = 32,
    patu_backend = 32, patu_service = 56, patu_sync_report = 64, patu_service_stats = 48, patu_explanation = 64,
}

// Handles, results and lists are opaque; `patu_error **` is the last argument of whatever can fail.
pub type handle = *mut c_void;
pub type error = *mut c_void;

#[link(name = "patu_c")]
extern "C" {
    pub fn patu_status_name(status: i32) -> *const c_char;
    pub fn patu_error_errno(error: error) -> i32;
    pub fn patu_error_text(error: error) -> *const c_char;
    pub fn patu_error_free(error: error);

    pub fn patu_names_count(names: *const c_void) -> usize;
    pub fn patu_names_at(names: *const c_void, index: usize) -> *const c_char;
    pub fn patu_refusals_count(refusals: *const c_void) -> usize;

    pub fn patu_netns_create(netns: *mut handle, err: *mut error) -> i32;
    pub fn patu_netns_open_path(path: *const c_char, netns: *mut handle, err: *mut error) -> i32;
    pub fn patu_netns_close(netns: handle);

    pub fn patu_datapath_open(options: *const patu_datapath_options, datapath: *mut handle, err: *mut error) -> i32;
    pub fn patu_datapath_close(datapath: handle);
    pub fn patu_datapath_unload(
        options: *const patu_datapath_options,
        flags: u32,
        removed: *mut handle,
        err: *mut error,
    ) -> i32;

    pub fn patu_network_open(
        datapath: handle,
        options: *const patu_network_options,
        network: *mut handle,
        err: *mut error,
    ) -> i32;
    pub fn patu_network_close(network: handle);
    pub fn patu_network_attach(
        network: handle,
        specs: *const patu_pod_spec,
        count: usize,
        attachments: *mut handle,
        err: *mut error,
    ) -> i32;
    pub fn patu_network_detach(network: handle, ids: *const patu_attachment_id, count: usize, err: *mut error) -> i32;
    pub fn patu_network_remove(network: handle, err: *mut error) -> i32;
    pub fn patu_network_bridge(network: handle) -> *const c_char;
    pub fn patu_attachments_count(attachments: handle) -> usize;
    pub fn patu_attachments_at(attachments: handle, index: usize) -> *const patu_attachment;
    pub fn patu_attachments_free(attachments: handle);

    pub fn patu_service_table_open(datapath: handle, node: handle, table: *mut handle, err: *mut error) -> i32;
    pub fn patu_service_table_close(table: handle);
    pub fn patu_service_table_sync(
        table: handle,
        services: *const patu_service,
        count: usize,
        flags: u32,
        report: *mut *mut patu_sync_report,
        err: *mut error,
    ) -> i32;
    pub fn patu_sync_report_free(report: *mut patu_sync_report);
    pub fn patu_service_table_remove(table: handle, name: *const c_char, err: *mut error) -> i32;
    pub fn patu_service_table_stats(table: handle, stats: *mut handle, err: *mut error) -> i32;
    pub fn patu_stats_count(stats: handle) -> usize;
    pub fn patu_stats_at(stats: handle, index: usize) -> *const patu_service_stats;
    pub fn patu_stats_free(stats: handle);
    pub fn patu_service_table_explain(
        table: handle,
        to: *const patu_endpoint,
        protocol: u32,
        from: handle,
        explanation: *mut *mut patu_explanation,
        err: *mut error,
    ) -> i32;
    pub fn patu_explanation_free(explanation: *mut patu_explanation);
}
