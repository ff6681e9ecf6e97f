//! The addresses of this machine, which may be public ones: behind them are services that no
//! firewall keeps from the machine itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// All that can be found out, as it is now: leases and interfaces come and go.
pub fn addresses() -> Vec<IpAddr> {
    let mut all = interfaces();
    all.extend(
        [
            outgoing(Ipv4Addr::UNSPECIFIED.into(), FAR_V4),
            outgoing(Ipv6Addr::UNSPECIFIED.into(), FAR_V6),
        ]
        .into_iter()
        .flatten(),
    );
    all
}

/// Addresses for documentation, which are routed as all others outside are.
const FAR_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const FAR_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

/// The address from which this machine speaks to another one. Nothing is sent for it.
fn outgoing(any: IpAddr, far: IpAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((far, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip().to_canonical())
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn interfaces() -> Vec<IpAddr> {
    let mut first = std::ptr::null_mut();
    // SAFETY: the list that it makes is written to `first`, and freed below.
    if unsafe { libc::getifaddrs(&mut first) } != 0 {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut entry = first;
    while !entry.is_null() {
        // SAFETY: an entry of the list, which ends with a null pointer and is not freed yet.
        let interface = unsafe { &*entry };
        // SAFETY: the address of an entry is null or as its family says.
        found.extend(unsafe { address(interface.ifa_addr) });
        entry = interface.ifa_next;
    }
    // SAFETY: the list is the one that was made, and nothing of it is kept.
    unsafe { libc::freeifaddrs(first) };
    found
}

/// # Safety
/// `address` is null, or points to an address that is as long as its family has it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
unsafe fn address(address: *const libc::sockaddr) -> Option<IpAddr> {
    if address.is_null() {
        return None;
    }
    // SAFETY: every address begins with its family.
    match i32::from(unsafe { (*address).sa_family }) {
        libc::AF_INET => {
            // SAFETY: an address of this family is a `sockaddr_in`; it need not be aligned.
            let address = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(Ipv4Addr::from(address.sin_addr.s_addr.to_ne_bytes()).into())
        }
        libc::AF_INET6 => {
            // SAFETY: an address of this family is a `sockaddr_in6`; it need not be aligned.
            let address = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(IpAddr::from(address.sin6_addr.s6_addr).to_canonical())
        }
        _ => None,
    }
}

/// Where the system is not asked, what it speaks from has to do.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn interfaces() -> Vec<IpAddr> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn the_systems_list_is_read() {
        let all = super::interfaces();
        assert!(all.contains(&std::net::Ipv4Addr::LOCALHOST.into()), "{all:?}");
    }
}
