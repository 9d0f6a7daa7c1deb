//! The layers between SQLite and the files of a disk. A number in the name of a database says which
//! disk it is on.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::faults::Faults;
use crate::pages::PageCipher;

/// The parameter in the name of a database that says which disk it is on.
pub(crate) const PARAMETER: &CStr = c"disk";

/// The layers between SQLite and the files of one disk.
#[derive(Debug)]
pub(crate) struct Layers {
    pub(crate) id: i64,
    pub(crate) cipher: Option<PageCipher>,
    pub(crate) faults: Option<Arc<Faults>>,
}

impl Layers {
    /// Layers that [`find`] finds as long as they are in use.
    pub(crate) fn new(cipher: Option<PageCipher>, faults: Option<Arc<Faults>>) -> Arc<Self> {
        static NEXT: AtomicI64 = AtomicI64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let layers = Arc::new(Self { id, cipher, faults });
        all().insert(id, Arc::downgrade(&layers));
        layers
    }
}

impl Drop for Layers {
    fn drop(&mut self) {
        all().remove(&self.id);
    }
}

/// The layers with this number.
pub(crate) fn find(id: i64) -> Option<Arc<Layers>> {
    all().get(&id)?.upgrade()
}

fn all() -> MutexGuard<'static, BTreeMap<i64, Weak<Layers>>> {
    static ALL: Mutex<BTreeMap<i64, Weak<Layers>>> = Mutex::new(BTreeMap::new());
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}
