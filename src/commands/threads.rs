//! How many threads compute, and watch connections.

use std::num::NonZeroUsize;
use std::str::FromStr;

/// The value of `--threads`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Threads {
    /// As many as there are cores for this process.
    Auto,
    Count(NonZeroUsize),
}

/// More than any machine has.
const MOST: usize = 4096;

impl FromStr for Threads {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        let count = text.parse::<NonZeroUsize>().ok().filter(|count| count.get() <= MOST);
        count
            .map(Self::Count)
            .ok_or_else(|| format!("it may be auto, or a whole number from 1 to {MOST}"))
    }
}

impl Threads {
    /// Starts the threads that compute, where they do not run yet; gives their number.
    pub fn start(self) -> usize {
        let count = self.count();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|number| format!("compute-{number}"));
        // They run already where one process loads several models.
        let _ = pool.build_global();
        count
    }

    fn count(self) -> usize {
        match self {
            Self::Count(count) => count.get(),
            // What the standard library counts heeds affinity and the quota of a control group.
            Self::Auto => allowed(
                |name| std::env::var(name).ok(),
                std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            ),
        }
    }
}

/// What the environment allows of the cores that are there: rayon's own variable is somebody's
/// wish; `CPU_CORES` is what Hugging Face Spaces gives a container, which sees all of its host's.
fn allowed(variable: impl Fn(&str) -> Option<String>, available: usize) -> usize {
    let number = |name: &str| {
        let number: f64 = variable(name)?.trim().parse().ok()?;
        // Half a core is a core for half of the time.
        (number > 0.0 && number <= MOST as f64).then_some(number.ceil() as usize)
    };
    number("RAYON_NUM_THREADS").unwrap_or_else(|| number("CPU_CORES").map_or(available, |cores| cores.min(available)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_containers_cores_are_what_it_is_given_and_not_what_it_sees() {
        let with =
            |name: &'static str, value: &'static str| move |asked: &str| (asked == name).then(|| value.to_owned());
        assert_eq!(allowed(|_| None, 8), 8);
        assert_eq!(allowed(with("CPU_CORES", "2"), 8), 2);
        assert_eq!(allowed(with("CPU_CORES", "0.5"), 8), 1);
        assert_eq!(allowed(with("CPU_CORES", "16"), 8), 8, "there are no more");
        assert_eq!(allowed(with("RAYON_NUM_THREADS", "16"), 8), 16, "somebody wishes it");
        for nonsense in ["", "0", "-2", "many", "nan", "1e9"] {
            assert_eq!(allowed(with("CPU_CORES", nonsense), 8), 8, "{nonsense}");
        }
    }

    #[test]
    fn threads_are_auto_or_a_number() {
        assert_eq!("auto".parse(), Ok(Threads::Auto));
        assert_eq!("3".parse::<Threads>().map(Threads::count), Ok(3));
        for wrong in ["", "0", "-1", "4097", "two", "1.5"] {
            let refused = wrong.parse::<Threads>().expect_err(wrong);
            assert_eq!(refused, "it may be auto, or a whole number from 1 to 4096");
        }
    }
}
