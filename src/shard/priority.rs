//! How much threads give way: what works in the background on the cores that people wait for.

/// A thread that gives way at 10 gets a tenth of a core that somebody else wants, and all of an idle one.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// The same of what only writes down what is known already: the last of all.
#[cfg(target_os = "linux")]
const NICE_LAST: i32 = 19;

/// The same of what some wait for and others not: a quarter of a core.
#[cfg(target_os = "linux")]
const NICE_SOME: i32 = 5;

/// Lowers the priority of the calling thread for good. On Linux a nice value belongs to the thread, whatever POSIX says;
/// elsewhere it belongs to the process, which must stay as it is: there the thread yields between blocks and that is all.
pub fn give_way() {
    #[cfg(target_os = "linux")]
    lower(None, NICE);
}

/// As [`give_way`], for a thread whose work some people wait for.
pub fn give_way_a_little() {
    #[cfg(target_os = "linux")]
    lower(None, NICE_SOME);
}

/// Puts the calling thread behind all others for good, and the threads that sled copies and writes on: it has seven for the
/// whole process, of the priority of who came first. As they were, a shard waited for them a third of a snapshot's time.
pub fn give_way_to_all() {
    #[cfg(target_os = "linux")]
    {
        lower(None, NICE_LAST);
        threads_called("sled-io").into_iter().for_each(|thread| lower(Some(thread), NICE_LAST));
    }
}

#[cfg(target_os = "linux")]
fn lower(thread: Option<rustix::process::Pid>, nice: i32) {
    if let Err(error) = rustix::process::setpriority_process(thread, nice) {
        tracing::debug!(%error, "a thread of the background runs at the priority of the server");
    }
}

/// Threads of this process whose name begins so; none where that cannot be told.
#[cfg(target_os = "linux")]
fn threads_called(prefix: &str) -> Vec<rustix::process::Pid> {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    let paths = tasks.flatten().map(|task| task.path());
    let named =
        paths.filter(|path| std::fs::read_to_string(path.join("comm")).is_ok_and(|name| name.starts_with(prefix)));
    let number = |path: std::path::PathBuf| path.file_name()?.to_str()?.parse().ok();
    named.filter_map(number).filter_map(rustix::process::Pid::from_raw).collect()
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    /// Field 19 of a thread's stat line (proc(5)), counted behind the name.
    fn nice() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        stat.rsplit(") ").next().unwrap().split(' ').nth(16).unwrap().parse().unwrap()
    }

    #[test]
    fn threads_are_lowered_by_name() {
        let (told, ready) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let named = std::thread::Builder::new().name("sled-io-test".to_owned());
        let other = named.spawn(move || {
            told.send(()).unwrap();
            ended.recv().unwrap();
            nice()
        });
        ready.recv().unwrap();
        let before = nice();
        std::thread::spawn(super::give_way_to_all).join().unwrap();
        end.send(()).unwrap();
        assert_eq!(other.unwrap().join().unwrap(), super::NICE_LAST);
        assert_eq!(nice(), before);
    }

    #[test]
    fn only_the_thread_that_fits_gives_way() {
        let before = nice();
        let fit = std::thread::spawn(|| {
            super::give_way();
            nice()
        });
        assert_eq!(fit.join().unwrap(), super::NICE.max(before));
        assert_eq!(nice(), before);
    }
}
