// The hosts' scenario in Rust: a node with two pods and a service, from nothing and back to nothing.
mod ffi;
#[allow(dead_code)] // it offers more than this host needs
mod patu;

use std::error::Error;
use std::net::{SocketAddr, UdpSocket};
use std::process::ExitCode;

use patu::{Attachment, Datapath, DatapathOptions, Netns, Network, Pod, Protocol, Service, Services};

const SERVICE: &str = "default/dns";
const SERVICE_ADDRESSES: [&str; 2] = ["10.96.0.53:53", "[fd00:96::53]:53"];
const PODS: [&str; 2] = ["web-1", "web-2"];

// Both pods in one call: attach makes all of a batch, or none of it.
fn attach_pods(network: &mut Network, netns: &[Netns; 2]) -> patu::Result<Vec<Attachment>> {
    let [first, second] = netns;
    let pods =
        network.attach(&[Pod { container_id: PODS[0], netns: first }, Pod { container_id: PODS[1], netns: second }])?;
    for pod in &pods {
        print!("pod {}:", pod.container_id);
        for (address, length) in &pod.addresses {
            print!(" {}/{}", address, length);
        }
        println!(", mtu {}", pod.mtu);
    }
    Ok(pods)
}

// The backends are the pods, with every address that they have. The second sync finds nothing to do.
fn write_service(services: &mut Services, pods: &[Attachment]) -> Result<(), Box<dyn Error>> {
    let mut service = Service { name: SERVICE.to_string(), frontends: Vec::new(), backends: Vec::new() };
    for address in SERVICE_ADDRESSES {
        service.frontends.push((Protocol::Udp, address.parse()?));
    }
    for (address, _) in pods.iter().flat_map(|pod| &pod.addresses) {
        service.backends.push(SocketAddr::new(*address, 53));
    }
    let wanted = [service];
    for _ in 0..2 {
        let report = services.sync(&wanted)?;
        println!(
            "sync: {} added, {} changed, {} removed, {} unchanged, {} refused",
            report.added.len(),
            report.changed.len(),
            report.removed.len(),
            report.unchanged,
            report.refused
        );
    }
    Ok(())
}

// Connects as any program does; the service's statistics tell that its sockets were given backends.
fn use_service(services: &Services) -> Result<(), Box<dyn Error>> {
    for to in [SERVICE_ADDRESSES[0], SERVICE_ADDRESSES[1], "10.96.0.53:54"] {
        let found = services.explain(Protocol::Udp, to.parse()?)?;
        let verdict = format!("{:?}", found.verdict).to_lowercase();
        let candidates: String = found.candidates.iter().map(|each| format!(" {}", each)).collect();
        println!("udp {}: {}{}", to, verdict, candidates);
    }
    for _ in 0..10 {
        UdpSocket::bind("0.0.0.0:0")?.connect("10.96.0.53:53")?;
    }
    for of in services.stats()? {
        println!("{}: {} connects, {} refused", of.name, of.connects, of.refused);
    }
    Ok(())
}

fn run(options: &DatapathOptions) -> Result<(), Box<dyn Error>> {
    let datapath = Datapath::open(options)?;
    let mut network = datapath.network("example0", &[("10.201.0.0".parse()?, 24), ("fd00:201::".parse()?, 64)])?;
    let mut services = datapath.services()?;
    println!("network {}", network.bridge());
    let netns = [Netns::create()?, Netns::create()?];
    let pods = attach_pods(&mut network, &netns)?;
    write_service(&mut services, &pods)?;
    use_service(&services)?;
    if let Err(error) = network.remove() {
        println!("{}", error);
    }
    services.remove(SERVICE)?;
    network.detach(&PODS)?;
    network.remove()?;
    Datapath::unload(options)?;
    println!("removed");
    Ok(())
}

fn options() -> Option<DatapathOptions> {
    let mut options = DatapathOptions { instance: Some("example".to_string()), ..Default::default() };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        match name.as_str() {
            "--bpffs" => options.bpffs = Some(arguments.next()?),
            "--cgroup" => options.cgroup = Some(arguments.next()?),
            _ => return None,
        }
    }
    Some(options)
}

fn main() -> ExitCode {
    let options = match options() {
        Some(options) => options,
        None => {
            eprintln!("usage: host [--bpffs DIR] [--cgroup DIR]");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error);
            ExitCode::FAILURE
        }
    }
}
