//! How much memory this machine has to give.

use std::path::Path;

use candle_core::Device;

use super::{LimitOrigin, MemoryLimit};

/// What a device can still take; `None` where the system does not say.
pub fn available(device: &Device) -> Option<MemoryLimit> {
    let (bytes, origin) = match device {
        Device::Cpu => (host(Path::new("/"))?, LimitOrigin::Machine),
        #[cfg(feature = "cuda")]
        Device::Cuda(cuda) => {
            let (free, _) = cuda.cuda_stream().context().mem_get_info().ok()?;
            (free as u64, LimitOrigin::Gpu)
        }
        _ => return None,
    };
    Some(MemoryLimit { bytes, origin })
}

/// Bytes that a program may still take without swapping: what the kernel estimates, or less
/// where a control group (a container's limit) allows less. `root` is `/`.
fn host(root: &Path) -> Option<u64> {
    let meminfo = std::fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let available = field(&meminfo, "MemAvailable:")? * 1024;
    let groups = std::fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let left = groups.lines().filter_map(|line| left_of_group(root, line)).min();
    Some(left.map_or(available, |left| left.min(available)))
}

/// What the tightest group on the way up from this one leaves; a line is
/// `number:controllers:path`, without controllers for version 2.
fn left_of_group(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, group) = (parts.next()?, parts.next()?);
    let hierarchy = if controllers.is_empty() {
        &VERSION_2
    } else if controllers.split(',').any(|controller| controller == "memory") {
        &VERSION_1
    } else {
        return None;
    };
    // Within a container the path may be the host's: then the root alone is there to be read.
    let mounted = root.join(hierarchy.mounted);
    let groups = Path::new(group.trim_start_matches('/')).ancestors();
    groups.filter_map(|group| hierarchy.left(&mounted.join(group))).min()
}

/// Where a version of control groups keeps its figures.
struct Hierarchy {
    mounted: &'static str,
    limit: &'static str,
    usage: &'static str,
    /// Within `memory.stat`: pages of files, which make room when it is needed.
    reclaimable: &'static str,
}

const VERSION_2: Hierarchy = Hierarchy {
    mounted: "sys/fs/cgroup",
    limit: "memory.max",
    usage: "memory.current",
    reclaimable: "inactive_file",
};

const VERSION_1: Hierarchy = Hierarchy {
    mounted: "sys/fs/cgroup/memory",
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    reclaimable: "total_inactive_file",
};

impl Hierarchy {
    fn left(&self, group: &Path) -> Option<u64> {
        let number = |file: &str| {
            std::fs::read_to_string(group.join(file))
                .ok()?
                .trim()
                .parse::<u64>()
                .ok()
        };
        // `max` is no number, and no limit.
        let limit = number(self.limit)?;
        let stat = std::fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
        let used = number(self.usage)?.saturating_sub(field(&stat, self.reclaimable).unwrap_or(0));
        Some(limit.saturating_sub(used))
    }
}

/// The number behind a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '\t'])))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine's files, with 8 GB available.
    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("there is a folder for tests");
        let meminfo = ("proc/meminfo", "MemTotal: 16000000 kB\nMemAvailable: 8000000 kB\n");
        for (file, text) in files.iter().chain([&meminfo]) {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("the folder is ours");
            std::fs::write(path, text).expect("the folder is ours");
        }
        root
    }

    #[test]
    fn without_limits_it_is_what_the_kernel_says() {
        assert_eq!(host(machine(&[]).path()), Some(8_192_000_000));
        let unlimited = machine(&[
            ("proc/self/cgroup", "0::/\n"),
            ("sys/fs/cgroup/memory.max", "max\n"),
            ("sys/fs/cgroup/memory.current", "5\n"),
        ]);
        assert_eq!(host(unlimited.path()), Some(8_192_000_000));
    }

    #[test]
    fn a_container_leaves_what_its_limit_does_less_what_cannot_be_reclaimed() {
        let version_2 = machine(&[
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/memory.max", "4000000000\n"),
            ("sys/fs/cgroup/a/memory.current", "3000000000\n"),
            ("sys/fs/cgroup/a/memory.stat", "anon 1\ninactive_file 2500000000\n"),
        ]);
        assert_eq!(host(version_2.path()), Some(3_500_000_000));
        let version_1 = machine(&[
            ("proc/self/cgroup", "5:cpu:/x\n4:cpu,memory:/docker/1\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "2000000000\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "500000000\n"),
        ]);
        assert_eq!(host(version_1.path()), Some(1_500_000_000));
    }
}
