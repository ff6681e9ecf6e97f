//! What is asked of the system's allocator.

/// Gives back to the system what has been freed and is still kept, by every thread's arena.
///
/// What is kept then is asked for anew, page by page: not for every picture.
pub fn give_freed_memory_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: it touches nothing but what is free, and locks what others allocate from.
        unsafe { libc::malloc_trim(0) };
    }
}

/// Bounds the arenas that threads allocate from: each keeps what was freed in it, so that many
/// threads would keep many pictures' memory. To be called before threads start.
pub fn bound_arenas() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const ARENAS: libc::c_int = 4;
        // SAFETY: it only sets a number; where it is refused, all is as it was.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS) };
    }
}

/// Has freed memory kept for the next allocation, up to a bound.
///
/// A layer's activations are megabytes that live for milliseconds. glibc gives such memory
/// back to the system at once and gets it back page by page, which took a quarter of a
/// picture's time. Other allocators keep it of themselves.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        /// The most that glibc allows: larger blocks come from the system and go back to it.
        const LARGEST: libc::c_int = 32 << 20;
        const KEPT: libc::c_int = 256 << 20;
        // SAFETY: it only sets numbers; where it refuses one, all is as it was.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, LARGEST);
            libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
        }
    }
}
