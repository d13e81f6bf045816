//! `/proc/PID/stat` and `/proc/PID/io`: one line, fifty numbers, a name that may hold anything.

use crate::sample::read::number;

/// What a sweep reads of each process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat<'a> {
    pub(super) comm: &'a [u8],
    pub(super) state: u8,
    pub(super) parent: u32,
    /// User and system time so far, in clock ticks.
    pub(super) cpu_ticks: u64,
    /// The same of its children that ended and were waited for, and of theirs.
    pub(super) children_ticks: u64,
    pub(super) threads: u32,
    /// Start in clock ticks since boot.
    pub(super) start_ticks: u64,
    pub(super) rss_pages: u64,
}

/// Parses the line; `None` when it is torn or of a foreign format.
pub(super) fn parse(bytes: &[u8]) -> Option<Stat<'_>> {
    // The name stands in parentheses and may hold parentheses and blanks itself.
    let open = bytes.iter().position(|b| *b == b'(')?;
    let close = bytes.iter().rposition(|b| *b == b')')?;
    let comm = bytes.get(open + 1..close)?;
    // Numbered as in proc(5): the state is field 3.
    let mut fields = bytes.get(close + 2..)?.split(|b| b.is_ascii_whitespace());
    let state = *fields.next()?.first()?;
    let mut skip = |count: usize| fields.nth(count).and_then(number);
    let parent = u32::try_from(skip(0)?).ok()?;
    let user = skip(9)?;
    let system = skip(0)?;
    let children = skip(0)?.saturating_add(skip(0)?);
    let threads = u32::try_from(skip(2)?).ok()?;
    let start_ticks = skip(1)?;
    let rss_pages = skip(1)?;
    Some(Stat {
        comm,
        state,
        parent,
        cpu_ticks: user.saturating_add(system),
        children_ticks: children,
        threads,
        start_ticks,
        rss_pages,
    })
}

/// Bytes that a process read from and wrote to storage; `None` when the format is foreign.
pub(super) fn parse_io(bytes: &[u8]) -> Option<(u64, u64)> {
    let value = |name: &[u8]| {
        bytes.split(|b| *b == b'\n').find_map(|line| number(line.strip_prefix(name)?.trim_ascii()))
    };
    Some((value(b"read_bytes:")?, value(b"write_bytes:")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LINE: &str = "4242 (a b) c) S 1 4242 4242 0 -1 4194304 100 0 0 0 12 34 5 6 20 0 7 0 132960 3133440 \
                        408 18446744073709551615 1 1 0 0 0";

    #[test]
    fn names_may_hold_parentheses_and_blanks() {
        let stat = parse(LINE.as_bytes()).unwrap();
        assert_eq!(stat.comm, b"a b) c");
        assert_eq!((stat.state, stat.cpu_ticks, stat.children_ticks, stat.threads), (b'S', 46, 11, 7));
        assert_eq!(stat.parent, 1);
        assert_eq!((stat.start_ticks, stat.rss_pages), (132_960, 408));
    }

    #[test]
    fn io_lines_are_found_by_name() {
        let io = b"rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 4096\nwrite_bytes: 8192\n\
                   cancelled_write_bytes: 1\n";
        assert_eq!(parse_io(io), Some((4096, 8192)));
        assert_eq!(parse_io(b"read_bytes: x\nwrite_bytes: 1"), None);
    }

    proptest! {
        #[test]
        fn torn_and_foreign_lines_never_panic(end in 0..LINE.len(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            // Up to the field before the last that matters nothing can be told.
            prop_assert!(end > LINE.find(" 408").unwrap() || parse(&LINE.as_bytes()[..end]).is_none());
            parse(&bytes);
            parse_io(&bytes);
        }
    }
}
