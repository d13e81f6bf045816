//! A disk in memory that fails, fills up, and loses what was not synced.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::spool::disk::Disk;

#[derive(Clone, Default)]
pub(super) struct SimFile {
    pub(super) data: Vec<u8>,
    synced: Vec<u8>,
    name_synced: bool,
}

#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) files: BTreeMap<String, SimFile>,
    /// Operations that changed something, so far.
    pub(super) ops: usize,
    /// From this operation on, nothing has an effect; that one itself is torn in the middle.
    pub(super) die_at: Option<usize>,
    /// This one operation fails without effect.
    pub(super) fail_at: Option<usize>,
    /// This many reads fail, with this error of the system.
    pub(super) fail_reads: (usize, i32),
    /// Most bytes of all files.
    pub(super) quota: Option<usize>,
}

#[derive(Clone, Default)]
pub(super) struct Sim(Arc<Mutex<State>>);

enum Fate {
    Works,
    Torn,
    Fails,
}

impl Sim {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// A disk with the same content.
    pub(super) fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.state().clone())))
    }

    /// The process is gone, what it wrote is there: the faults are over.
    pub(super) fn killed(&self) {
        let mut state = self.state();
        (state.die_at, state.fail_at) = (None, None);
    }

    /// The power is gone: of what was not synced, `keep` decides.
    pub(super) fn power_cut(&self, mut keep: impl FnMut() -> bool) {
        self.killed();
        let mut state = self.state();
        state.files.retain(|_, file| file.name_synced || keep());
        for file in state.files.values_mut() {
            if !keep() {
                file.data = file.synced.clone();
            }
            (file.synced, file.name_synced) = (file.data.clone(), true);
        }
    }

    fn change<T>(&self, act: impl FnOnce(&mut State, bool) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state();
        state.ops += 1;
        let fate = match (state.die_at, state.fail_at) {
            (Some(at), _) if state.ops > at => Fate::Fails,
            (Some(at), _) if state.ops == at => Fate::Torn,
            (_, Some(at)) if state.ops == at => Fate::Fails,
            _ => Fate::Works,
        };
        match fate {
            Fate::Works => act(&mut state, false),
            Fate::Torn => act(&mut state, true).and(Err(io::Error::other("killed"))),
            Fate::Fails => Err(io::Error::other("injected")),
        }
    }
}

fn missing() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl Disk for Sim {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        Ok(self.state().files.iter().map(|(name, file)| (name.clone(), file.data.len() as u64)).collect())
    }

    fn read_at(&self, name: &str, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state();
        if state.fail_reads.0 > 0 {
            state.fail_reads.0 -= 1;
            return Err(io::Error::from_raw_os_error(state.fail_reads.1));
        }
        let data = &state.files.get(name).ok_or_else(missing)?.data;
        let rest = data.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(|state, torn| {
            let used: usize = state.files.values().map(|file| file.data.len()).sum();
            let room = state.quota.map_or(usize::MAX, |quota| quota.saturating_sub(used));
            let data = &mut state.files.entry(name.to_owned()).or_default().data;
            let wanted = if torn { bytes.len() / 2 } else { bytes.len() };
            let fits = data.len().saturating_add(room).saturating_sub(offset as usize).min(wanted);
            let end = offset as usize + fits;
            if data.len() < end {
                data.resize(end, 0);
            }
            data[offset as usize..end].copy_from_slice(&bytes[..fits]);
            if fits < wanted { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) }
        })
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.change(|state, torn| {
            let file = state.files.get_mut(name).ok_or_else(missing)?;
            if !torn {
                file.synced = file.data.clone();
            }
            Ok(())
        })
    }

    fn sync_names(&self) -> io::Result<()> {
        self.change(|state, torn| {
            state.files.values_mut().for_each(|file| file.name_synced |= !torn);
            Ok(())
        })
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        self.change(|state, torn| {
            let file = state.files.get_mut(name).ok_or_else(missing)?;
            if !torn {
                file.data.truncate(len as usize);
            }
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.change(
            |state, torn| {
                if torn { Ok(()) } else { state.files.remove(name).map(drop).ok_or_else(missing) }
            },
        )
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(|state, torn| {
            if torn {
                return Ok(());
            }
            let file = state.files.remove(from).ok_or_else(missing)?;
            state.files.insert(to.to_owned(), file);
            Ok(())
        })
    }
}
