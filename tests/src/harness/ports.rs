//! The ports on which the stack listens, as the operating system knows them.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use serde_json::Value;

use super::test::{stack, stack_file};

/// The state of a listening socket in `/proc/net/tcp`.
const LISTENING: &str = "0A";

/// The addresses on which a process of the stack listens: the program's own, the emulator's and
/// those of its functions. Off Linux, only those that the stack tells.
pub(crate) fn listening_addresses() -> Vec<SocketAddr> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
    let tables: Vec<_> = tables.into_iter().flatten().collect();
    if tables.is_empty() {
        let stack = stack();
        let urls = [&stack.aws.aws_endpoint, &stack.slack_url];
        return urls
            .map(|url| url["http://".len()..].parse().expect("an address"))
            .into();
    }
    let sockets = sockets_of(&processes());
    let lines = tables.iter().flat_map(|table| table.lines().skip(1));
    let listening = lines.filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let is_own = fields[3] == LISTENING && sockets.contains(fields[9]);
        is_own.then(|| parse_address(fields[1]))
    });
    listening.collect()
}

/// The ids of the stack's processes: those that it has recorded, and the groups that they lead.
fn processes() -> Vec<u64> {
    let file = stack_file().with_file_name("processes.json");
    let recorded = fs::read(file).expect("the stack's processes");
    let recorded: Vec<Value> = serde_json::from_slice(&recorded).expect("JSON");
    let recorded: Vec<_> = recorded
        .iter()
        .map(|it| it["pid"].as_u64().expect("an id"))
        .collect();
    let all = fs::read_dir("/proc").expect("a list of processes");
    let all = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    all.filter(|id| {
        recorded.contains(id) || group(*id).is_some_and(|group| recorded.contains(&group))
    })
    .collect()
}

/// The group of a process; `None` if it has ended.
fn group(process: u64) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(2)?
        .parse()
        .ok()
}

/// The inodes of the processes' open sockets.
fn sockets_of(processes: &[u64]) -> HashSet<String> {
    let folders = processes
        .iter()
        .map(|process| format!("/proc/{process}/fd"));
    let files = folders
        .filter_map(|folder| fs::read_dir(Path::new(&folder)).ok())
        .flatten();
    let targets = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    let inodes = targets.filter_map(|target| {
        let inode = target
            .to_str()?
            .strip_prefix("socket:[")?
            .strip_suffix(']')?;
        Some(inode.to_owned())
    });
    inodes.collect()
}

/// Parses an address such as `0100007F:1F90`, or one of IPv6: each four bytes are those of a
/// little-endian number.
fn parse_address(text: &str) -> SocketAddr {
    let (ip, port) = text.split_once(':').expect("an address and a port");
    let port = u16::from_str_radix(port, 16).expect("a port");
    let number = |at: usize| {
        let number = u32::from_str_radix(&ip[at..at + 8], 16).expect("an address");
        number.swap_bytes()
    };
    let ip = if ip.len() == 8 {
        IpAddr::from(number(0).to_be_bytes())
    } else {
        let numbers = [0, 8, 16, 24].map(number);
        let all = numbers
            .iter()
            .fold(0, |all, number| all << 32 | u128::from(*number));
        IpAddr::from(all.to_be_bytes())
    };
    (ip.to_canonical(), port).into()
}

#[test]
fn addresses_are_read_as_linux_writes_them() {
    let v6 = "00000000000000000000000001000000:1F90";
    for (written, address) in [("0100007F:1F90", "127.0.0.1:8080"), (v6, "[::1]:8080")] {
        assert_eq!(parse_address(written).to_string(), address);
    }
}
