//! The VFS of this crate: it opens files with the system's VFS, and changes what is read and
//! written. All other calls are passed on unchanged.
//!
//! Each open file is one block of memory that SQLite allocates: first [`File`], then the file of the
//! system's VFS. [`File::system`] is the only place that knows this.

use std::ffi::{CStr, c_int, c_void};
use std::ptr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rusqlite::{Connection, ffi};

use crate::PAGE_BYTES;
use crate::faults::Fault;
use crate::layers::{self, Layers, PARAMETER};
use crate::layout::{Kind, Part, Place, part_at};
use crate::pages::PageCipher;

/// The name under which SQLite knows this VFS.
pub(crate) const NAME: &CStr = c"hobnob";

/// The longest part of a file.
const PART_MAX: usize = PAGE_BYTES;

/// An open file.
#[repr(C)]
struct File {
    /// SQLite calls these functions.
    base: ffi::sqlite3_file,
    state: *mut State,
}

/// This VFS's facts about an open file.
struct State {
    kind: Kind,
    layers: Arc<Layers>,
    /// The bytes that each write since the last sync has replaced. Only kept for faults.
    before: Mutex<Vec<(i64, Vec<u8>)>>,
}

/// The system's VFS, and this one, which is a changed copy of it. Both live as long as the process.
struct Registered {
    system: *mut ffi::sqlite3_vfs,
}

// SAFETY: SQLite allows calls to a VFS from all threads, and nobody changes the structure after it
// was registered.
unsafe impl Send for Registered {}
// SAFETY: as above.
unsafe impl Sync for Registered {}

static REGISTERED: OnceLock<Option<Registered>> = OnceLock::new();

/// Makes the VFS known to SQLite, once.
pub(crate) fn register() -> rusqlite::Result<()> {
    let registered = REGISTERED.get_or_init(|| {
        // SAFETY: null asks for the default VFS. It is never unregistered, so the pointer stays valid.
        let system = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
        if system.is_null() {
            return None;
        }
        // SAFETY: the pointer is valid, and all fields can be copied. The functions of the system's
        // VFS work with the copy, too: they use only its `mxPathname` and `pAppData`.
        let mut copy = unsafe { ptr::read(system) };
        copy.zName = NAME.as_ptr();
        copy.pNext = ptr::null_mut();
        copy.szOsFile += c_int::try_from(size_of::<File>()).expect("a small structure");
        copy.xOpen = Some(open);
        // It must never move or be freed, because SQLite keeps it in a list.
        let ours = Box::leak(Box::new(copy));
        // SAFETY: the structure is complete and lives forever.
        let code = unsafe { ffi::sqlite3_vfs_register(ours, 0) };
        (code == ffi::SQLITE_OK).then_some(Registered { system })
    });
    match registered {
        Some(_) => Ok(()),
        None => Err(rusqlite::Error::SqliteFailure(
            ffi::Error::new(ffi::SQLITE_ERROR),
            Some("the VFS can't be registered".to_owned()),
        )),
    }
}

/// Makes SQLite leave this number of bytes at the end of each page of a new database.
pub(crate) fn reserve(conn: &Connection, bytes: usize) -> rusqlite::Result<()> {
    let mut bytes = c_int::try_from(bytes).expect("a byte");
    // SAFETY: the handle is valid while `conn` is borrowed, and this operation reads and writes one
    // integer.
    let code = unsafe {
        ffi::sqlite3_file_control(
            conn.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_RESERVE_BYTES,
            ptr::from_mut(&mut bytes).cast(),
        )
    };
    if code == ffi::SQLITE_OK {
        Ok(())
    } else {
        Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None))
    }
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    // Version 3 would map pages into memory, as they are in the file.
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

impl File {
    /// The file of the system's VFS, which follows this structure in memory.
    ///
    /// # Safety
    ///
    /// `file` must be a file that SQLite allocated for this VFS.
    unsafe fn system(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
        // SAFETY: SQLite allocated `szOsFile` bytes, which is the size of both.
        unsafe { file.cast::<File>().add(1).cast() }
    }

    /// The state of an open file.
    ///
    /// # Safety
    ///
    /// `file` must have been opened by [`open`] and not closed.
    unsafe fn state<'a>(file: *mut ffi::sqlite3_file) -> &'a State {
        // SAFETY: `open` has set the pointer, and `close` is the last call for a file.
        unsafe { &*(*file.cast::<File>()).state }
    }
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives memory for a file of this VFS. Without methods, it does not close it.
    unsafe { (*file).pMethods = ptr::null() };
    let Some((kind, layers)) = kind_of(flags).and_then(|kind| Some((kind, layers_of(name)?)))
    else {
        // A temporary file. It would not be encrypted.
        return ffi::SQLITE_CANTOPEN;
    };
    let Some(Some(registered)) = REGISTERED.get() else {
        return ffi::SQLITE_MISUSE;
    };
    // SAFETY: the system's VFS is valid, and so are the arguments, which come from SQLite. The file is
    // the second part of the memory that SQLite gave.
    let code = unsafe {
        let system = registered.system;
        let Some(open) = (*system).xOpen else {
            return ffi::SQLITE_MISUSE;
        };
        let inner = File::system(file);
        let code = open(system, name, inner, flags, out_flags);
        if code != ffi::SQLITE_OK {
            // It may ask to be closed even now.
            if let Some(close) = (*inner)
                .pMethods
                .as_ref()
                .and_then(|methods| methods.xClose)
            {
                close(inner);
            }
        }
        code
    };
    if code == ffi::SQLITE_OK {
        let before = Mutex::default();
        let state = Box::new(State {
            kind,
            layers,
            before,
        });
        // SAFETY: the memory has the size of a `File`, and is not shared yet.
        unsafe {
            (*file.cast::<File>()).state = Box::into_raw(state);
            (*file).pMethods = &raw const METHODS;
        }
    }
    code
}

fn kind_of(flags: c_int) -> Option<Kind> {
    let kinds = [
        (ffi::SQLITE_OPEN_MAIN_DB, Kind::Database),
        (ffi::SQLITE_OPEN_WAL, Kind::Wal),
        (ffi::SQLITE_OPEN_MAIN_JOURNAL, Kind::Journal),
    ];
    let found = kinds.into_iter().find(|(flag, _)| flags & flag != 0);
    found.map(|(_, kind)| kind)
}

/// The disk that the name of a file says. The names of a log and a journal have the parameters of
/// their database.
fn layers_of(name: ffi::sqlite3_filename) -> Option<Arc<Layers>> {
    if name.is_null() {
        return None;
    }
    // SAFETY: a name that SQLite passes to `xOpen` for one of the three kinds has parameters after
    // it, and the parameter's name is a C string.
    let id = unsafe { ffi::sqlite3_uri_int64(name, PARAMETER.as_ptr(), 0) };
    layers::find(id)
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes an open file once, and does not use it afterwards.
    unsafe {
        let code = call(file, |methods| methods.xClose, |close, inner| close(inner));
        drop(Box::from_raw((*file.cast::<File>()).state));
        (*file).pMethods = ptr::null();
        code
    }
}

/// Calls a function of the system's file.
///
/// # Safety
///
/// `file` must be open.
unsafe fn call<F>(
    file: *mut ffi::sqlite3_file,
    function: impl FnOnce(&ffi::sqlite3_io_methods) -> Option<F>,
    call: impl FnOnce(F, *mut ffi::sqlite3_file) -> c_int,
) -> c_int {
    // SAFETY: the system's file is open as long as this one.
    let (inner, methods) = unsafe {
        let inner = File::system(file);
        (inner, (*inner).pMethods.as_ref())
    };
    match methods.and_then(function) {
        Some(function) => call(function, inner),
        None => ffi::SQLITE_IOERR,
    }
}

/// Reads from the system's file.
///
/// # Safety
///
/// `file` must be open.
unsafe fn read_system(file: *mut ffi::sqlite3_file, offset: i64, bytes: &mut [u8]) -> c_int {
    let len = c_int::try_from(bytes.len()).expect("SQLite asks for at most a frame");
    // SAFETY: the buffer has `len` bytes.
    unsafe {
        call(
            file,
            |methods| methods.xRead,
            |read, inner| read(inner, bytes.as_mut_ptr().cast(), len, offset),
        )
    }
}

/// Writes to the system's file, unless a fault strikes.
///
/// # Safety
///
/// `file` must be open.
unsafe fn write_system(file: *mut ffi::sqlite3_file, offset: i64, bytes: &[u8]) -> c_int {
    // SAFETY: the caller's promise.
    let state = unsafe { File::state(file) };
    let mut bytes = bytes;
    let mut code = ffi::SQLITE_OK;
    if let Some(faults) = &state.layers.faults {
        match faults.next() {
            Some(Fault::Io | Fault::Unsynced) => return ffi::SQLITE_IOERR_WRITE,
            Some(Fault::NoSpace) => return ffi::SQLITE_FULL,
            Some(Fault::Torn) => {
                bytes = &bytes[..bytes.len() / 2];
                code = ffi::SQLITE_IOERR_WRITE;
            }
            None => {}
        }
        let mut before = vec![0; bytes.len()];
        // SAFETY: the file is open. Beyond its end are zeros.
        unsafe { read_system(file, offset, &mut before) };
        state.before().push((offset, before));
    }
    let len = c_int::try_from(bytes.len()).expect("SQLite writes at most a frame");
    // SAFETY: the buffer has `len` bytes.
    let written = unsafe {
        call(
            file,
            |methods| methods.xWrite,
            |write, inner| write(inner, bytes.as_ptr().cast(), len, offset),
        )
    };
    if written == ffi::SQLITE_OK {
        code
    } else {
        written
    }
}

impl State {
    fn before(&self) -> std::sync::MutexGuard<'_, Vec<(i64, Vec<u8>)>> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    buffer: *mut c_void,
    amount: c_int,
    offset: i64,
) -> c_int {
    let (Ok(len), Ok(start)) = (usize::try_from(amount), u64::try_from(offset)) else {
        return ffi::SQLITE_MISUSE;
    };
    // SAFETY: SQLite gives a buffer of this length, and an open file.
    let (bytes, state) = unsafe {
        let bytes = std::slice::from_raw_parts_mut(buffer.cast::<u8>(), len);
        (bytes, File::state(file))
    };
    let Some(cipher) = &state.layers.cipher else {
        // SAFETY: the file is open.
        return unsafe { read_system(file, offset, bytes) };
    };
    let mut done = 0;
    while done < len {
        let at = start + done as u64;
        let part = part_at(state.kind, at, len - done);
        // SAFETY: the file is open.
        let read = unsafe { read_part(file, cipher, state.kind, part, at, &mut bytes[done..]) };
        match read {
            Ok(count) => done += count,
            Err(code) => {
                bytes[done..].fill(0);
                return code;
            }
        }
    }
    ffi::SQLITE_OK
}

/// Reads the bytes from `at` to the end of a part, or of the buffer, and returns their number.
///
/// # Safety
///
/// `file` must be open.
unsafe fn read_part(
    file: *mut ffi::sqlite3_file,
    cipher: &PageCipher,
    kind: Kind,
    part: Part,
    at: u64,
    buffer: &mut [u8],
) -> Result<usize, c_int> {
    let mut scratch = [0; PART_MAX];
    let whole = scratch.get_mut(..part.len).ok_or(ffi::SQLITE_IOERR_READ)?;
    let start = i64::try_from(part.start).map_err(|_| ffi::SQLITE_IOERR_READ)?;
    // SAFETY: the caller's promise.
    match unsafe { read_system(file, start, whole) } {
        ffi::SQLITE_OK => {}
        error => return Err(error),
    }
    if cipher.open(part.place, whole).is_err() {
        // SQLite recovers a log by reading whole frames until one is not complete, and learns that
        // from the checksum in the header. So a torn frame is no error there, only different.
        let is_recovery = kind == Kind::Wal && buffer.len() > PAGE_BYTES;
        let is_page_of_frame = matches!(part.place, Place::Page(Kind::Wal, _)) && is_recovery;
        if !is_page_of_frame {
            return Err(ffi::SQLITE_IOERR_DATA);
        }
    }
    let skipped = usize::try_from(at - part.start).expect("within a part");
    let count = buffer.len().min(part.len - skipped);
    buffer[..count].copy_from_slice(&whole[skipped..skipped + count]);
    Ok(count)
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    buffer: *const c_void,
    amount: c_int,
    offset: i64,
) -> c_int {
    let (Ok(len), Ok(start)) = (usize::try_from(amount), u64::try_from(offset)) else {
        return ffi::SQLITE_MISUSE;
    };
    // SAFETY: SQLite gives a buffer of this length, and an open file.
    let (bytes, state) = unsafe {
        let bytes = std::slice::from_raw_parts(buffer.cast::<u8>(), len);
        (bytes, File::state(file))
    };
    let Some(cipher) = &state.layers.cipher else {
        // SAFETY: the file is open.
        return unsafe { write_system(file, offset, bytes) };
    };
    let mut done = 0;
    while done < len {
        let at = start + done as u64;
        let part = part_at(state.kind, at, len - done);
        // Part of a page can't be encrypted, and SQLite never writes one.
        if part.start != at || part.len > len - done {
            return ffi::SQLITE_IOERR_WRITE;
        }
        let mut scratch = [0; PART_MAX];
        let Some(sealed) = scratch.get_mut(..part.len) else {
            return ffi::SQLITE_IOERR_WRITE;
        };
        sealed.copy_from_slice(&bytes[done..done + part.len]);
        if cipher.seal(part.place, sealed).is_err() {
            return ffi::SQLITE_IOERR_WRITE;
        }
        let offset = offset + i64::try_from(done).expect("at most a frame");
        // SAFETY: the file is open.
        match unsafe { write_system(file, offset, sealed) } {
            ffi::SQLITE_OK => done += part.len,
            error => return error,
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: SQLite syncs open files.
    let state = unsafe { File::state(file) };
    if let Some(faults) = &state.layers.faults {
        match faults.next() {
            Some(Fault::Unsynced) => {
                // The system has dropped the pages that it could not write.
                let before = std::mem::take(&mut *state.before());
                for (offset, bytes) in before.iter().rev() {
                    let len = c_int::try_from(bytes.len()).expect("it was written");
                    // SAFETY: the buffer has `len` bytes, and the file is open.
                    unsafe {
                        call(
                            file,
                            |methods| methods.xWrite,
                            |write, inner| write(inner, bytes.as_ptr().cast(), len, *offset),
                        )
                    };
                }
                return ffi::SQLITE_IOERR_FSYNC;
            }
            Some(Fault::NoSpace) => return ffi::SQLITE_FULL,
            Some(Fault::Io | Fault::Torn) => return ffi::SQLITE_IOERR_FSYNC,
            None => state.before().clear(),
        }
    }
    // SAFETY: SQLite syncs open files.
    unsafe {
        call(
            file,
            |methods| methods.xSync,
            |sync, inner| sync(inner, flags),
        )
    }
}

/// Defines functions that only pass a call on to the system's file.
macro_rules! passed_on {
    ($($name:ident = $method:ident ($($argument:ident: $type:ty),*);)*) => {$(
        unsafe extern "C" fn $name(file: *mut ffi::sqlite3_file $(, $argument: $type)*) -> c_int {
            // SAFETY: SQLite calls this for open files, with arguments that suit the system's file.
            unsafe { call(file, |methods| methods.$method, |function, inner| function(inner $(, $argument)*)) }
        }
    )*};
}

passed_on! {
    truncate = xTruncate(size: i64);
    file_size = xFileSize(size: *mut i64);
    lock = xLock(level: c_int);
    unlock = xUnlock(level: c_int);
    check_reserved_lock = xCheckReservedLock(result: *mut c_int);
    file_control = xFileControl(operation: c_int, argument: *mut c_void);
    sector_size = xSectorSize();
    shm_map = xShmMap(page: c_int, size: c_int, extend: c_int, memory: *mut *mut c_void);
    shm_lock = xShmLock(offset: c_int, count: c_int, flags: c_int);
    shm_unmap = xShmUnmap(delete: c_int);
}

unsafe extern "C" fn device_characteristics(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite asks about open files.
    let system = unsafe {
        call(
            file,
            |methods| methods.xDeviceCharacteristics,
            |ask, inner| ask(inner),
        )
    };
    // Parts of a page can't be read without the rest.
    system & !ffi::SQLITE_IOCAP_SUBPAGE_READ
}

unsafe extern "C" fn shm_barrier(file: *mut ffi::sqlite3_file) {
    // SAFETY: SQLite calls this for open files.
    unsafe {
        call(
            file,
            |methods| methods.xShmBarrier,
            |barrier, inner| {
                barrier(inner);
                ffi::SQLITE_OK
            },
        );
    }
}

#[cfg(test)]
mod tests;
