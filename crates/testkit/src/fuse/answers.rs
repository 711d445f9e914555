//! The kernel's questions, answered from the tree. Nothing is cached in the kernel: a cut must be seen at once.

use super::{CONTROL_FILE, Machine, Unsynced, tree};
use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use parking_lot::Mutex;
use rustix::fs::OFlags;
use std::{
    ffi::OsStr,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tree::{Attributes, Node, Tree};

/// Attributes and names are asked again each time.
const NOT_CACHED: Duration = Duration::ZERO;
/// Of the control file, which is not in the tree.
const CONTROL_INODE: u64 = u64::MAX - 1;

#[derive(Debug)]
pub struct Answers {
    machine: Arc<Mutex<Machine>>,
}

type Done<T = ()> = Result<T, Errno>;

impl Answers {
    pub fn new(machine: Arc<Mutex<Machine>>) -> Self {
        Self { machine }
    }

    fn with<T>(&self, ask: impl FnOnce(&mut Tree) -> Done<T>) -> Done<T> {
        let mut machine = self.machine.lock();
        if machine.powered { ask(&mut machine.tree) } else { Err(Errno::EIO) }
    }

    /// As `with`, for a handle: one of an earlier life of the machine is dead.
    fn with_handle<T>(&self, handle: FileHandle, ask: impl FnOnce(&mut Tree) -> Done<T>) -> Done<T> {
        self.with(|tree| if handle.0 == tree.boot() { ask(tree) } else { Err(Errno::EIO) })
    }

    fn made(&self, parent: u64, name: &OsStr, attributes: Attributes) -> Done<FileAttr> {
        self.with(|tree| {
            let id = tree.make(parent, name, attributes)?;
            attr(id, tree.node(id)?)
        })
    }

    fn create_file(&self, request: &Request, at: (u64, &OsStr), mode: u32) -> Done<(FileAttr, u64)> {
        if at == (tree::ROOT, OsStr::new(CONTROL_FILE)) {
            let mut machine = self.machine.lock();
            if machine.powered {
                machine.cut(Unsynced::Forgotten);
            }
            return Ok((control_attr(), machine.tree.boot()));
        }
        self.with(|tree| {
            let id = tree.make(at.0, at.1, attributes(request, FileType::RegularFile, mode))?;
            tree.opened(id)?;
            Ok((attr(id, tree.node(id)?)?, tree.boot()))
        })
    }

    fn set(&self, id: u64, change: impl FnOnce(&mut Node), size: Option<u64>) -> Done<FileAttr> {
        self.with(|tree| {
            if let Some(size) = size {
                tree.resize(id, size)?;
            }
            let node = tree.node_mut(id)?;
            change(node);
            node.attributes.changed = crate::clock::file_time();
            attr(id, node)
        })
    }

    fn is_control(&self, parent: INodeNo, name: &OsStr) -> bool {
        parent.0 == tree::ROOT && name == CONTROL_FILE && !self.machine.lock().powered
    }
}

fn attributes(request: &Request, kind: FileType, mode: u32) -> Attributes {
    let now = crate::clock::file_time();
    let mode = u16::try_from(mode & 0o7777).unwrap_or(0o600);
    Attributes { kind, mode, uid: request.uid(), gid: request.gid(), modified: now, accessed: now, changed: now }
}

fn attr(id: u64, node: &Node) -> Done<FileAttr> {
    let size = node.size();
    let a = &node.attributes;
    Ok(FileAttr {
        ino: INodeNo(id),
        size,
        blocks: size.div_ceil(512),
        atime: a.accessed,
        mtime: a.modified,
        ctime: a.changed,
        crtime: a.changed,
        kind: a.kind,
        perm: a.mode,
        nlink: node.links(),
        uid: a.uid,
        gid: a.gid,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    })
}

fn control_attr() -> FileAttr {
    let now = crate::clock::file_time();
    FileAttr {
        ino: INodeNo(CONTROL_INODE),
        size: 0,
        blocks: 0,
        atime: now,
        mtime: now,
        ctime: now,
        crtime: now,
        kind: FileType::RegularFile,
        perm: 0o666,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

fn moment(time: TimeOrNow) -> SystemTime {
    match time {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => crate::clock::file_time(),
    }
}

fn kind_of(mode: u32) -> FileType {
    match rustix::fs::FileType::from_raw_mode(mode) {
        rustix::fs::FileType::Socket => FileType::Socket,
        rustix::fs::FileType::Fifo => FileType::NamedPipe,
        rustix::fs::FileType::CharacterDevice => FileType::CharDevice,
        rustix::fs::FileType::BlockDevice => FileType::BlockDevice,
        _ => FileType::RegularFile,
    }
}

fn is_synchronous(flags: OpenFlags) -> bool {
    let flags = OFlags::from_bits_retain(u32::try_from(flags.0).unwrap_or(0));
    flags.intersects(OFlags::SYNC | OFlags::DSYNC)
}

fn empty(reply: ReplyEmpty, done: Done) {
    match done {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

fn entry(reply: ReplyEntry, done: Done<FileAttr>) {
    match done {
        Ok(found) => reply.entry(&NOT_CACHED, &found, Generation(0)),
        Err(error) => reply.error(error),
    }
}

fn attribute(reply: ReplyAttr, done: Done<FileAttr>) {
    match done {
        Ok(found) => reply.attr(&NOT_CACHED, &found),
        Err(error) => reply.error(error),
    }
}

impl Filesystem for Answers {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if self.is_control(parent, name) {
            return entry(reply, Ok(control_attr()));
        }
        let create_control = parent.0 == tree::ROOT && name == CONTROL_FILE;
        let found = self.with(|tree| tree.lookup(parent.0, name).and_then(|id| attr(id, tree.node(id)?)));
        entry(reply, if create_control { Err(Errno::ENOENT) } else { found });
    }

    fn getattr(&self, _: &Request, id: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match id.0 {
            CONTROL_INODE => attribute(reply, Ok(control_attr())),
            // The root answers without power too, so that the control file can be reached.
            tree::ROOT => {
                let machine = self.machine.lock();
                attribute(reply, machine.tree.node(tree::ROOT).and_then(|node| attr(tree::ROOT, node)));
            }
            id => attribute(reply, self.with(|tree| attr(id, tree.node(id)?))),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        id: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        if id.0 == CONTROL_INODE {
            return attribute(reply, Ok(control_attr()));
        }
        let change = |node: &mut Node| {
            let a = &mut node.attributes;
            a.mode = mode.and_then(|mode| u16::try_from(mode & 0o7777).ok()).unwrap_or(a.mode);
            a.uid = uid.unwrap_or(a.uid);
            a.gid = gid.unwrap_or(a.gid);
            a.accessed = atime.map_or(a.accessed, moment);
            a.modified = mtime.map_or(a.modified, moment);
        };
        attribute(reply, self.set(id.0, change, size));
    }

    fn readlink(&self, _: &Request, id: INodeNo, reply: ReplyData) {
        match self.with(|tree| tree.target(id.0).cloned()) {
            Ok(target) => reply.data(target.as_os_str().as_encoded_bytes()),
            Err(error) => reply.error(error),
        }
    }

    fn mknod(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, _: u32, reply: ReplyEntry) {
        entry(reply, self.made(parent.0, name, attributes(request, kind_of(mode), mode)));
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        entry(reply, self.made(parent.0, name, attributes(request, FileType::Directory, mode)));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        if self.is_control(parent, name) {
            self.machine.lock().powered = true;
            return reply.ok();
        }
        empty(reply, self.with(|tree| tree.unlink(parent.0, name)));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.with(|tree| tree.rmdir(parent.0, name)));
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let made = self.with(|tree| {
            let attributes = attributes(request, FileType::Symlink, 0o777);
            let id = tree.make_link(parent.0, name, target.to_path_buf(), attributes)?;
            attr(id, tree.node(id)?)
        });
        entry(reply, made);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if flags.contains(RenameFlags::RENAME_EXCHANGE) {
            return reply.error(Errno::EINVAL);
        }
        let replace = !flags.contains(RenameFlags::RENAME_NOREPLACE);
        empty(reply, self.with(|tree| tree.rename((parent.0, name), (new_parent.0, new_name), replace)));
    }

    fn link(&self, _: &Request, id: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let linked = self.with(|tree| {
            tree.hard_link(id.0, parent.0, name)?;
            attr(id.0, tree.node(id.0)?)
        });
        entry(reply, linked);
    }

    fn open(&self, _: &Request, id: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.with(|tree| tree.opened(id.0).map(|()| tree.boot())) {
            Ok(boot) => reply.opened(FileHandle(boot), FopenFlags::FOPEN_DIRECT_IO),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        id: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let bytes = self.with_handle(handle, |tree| tree.read(id.0, offset, u64::from(size)).map(<[u8]>::to_vec));
        match bytes {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        id: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self.with_handle(handle, |tree| {
            tree.write(id.0, offset, data)?;
            if is_synchronous(flags) { tree.sync_file(id.0) } else { Ok(()) }
        });
        match written {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        id: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        let mut machine = self.machine.lock();
        if handle.0 == machine.tree.boot() {
            machine.tree.released(id.0);
        }
        drop(machine);
        reply.ok();
    }

    fn fsync(&self, _: &Request, id: INodeNo, handle: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(reply, self.with_handle(handle, |tree| tree.sync_file(id.0)));
    }

    fn opendir(&self, _: &Request, id: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.with(|tree| tree.list(id.0).map(|_| tree.boot())) {
            Ok(boot) => reply.opened(FileHandle(boot), FopenFlags::empty()),
            Err(error) => reply.error(error),
        }
    }

    fn readdir(&self, _: &Request, id: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let entries = self.with(|tree| {
            let mut entries = vec![(".".into(), id.0, FileType::Directory)];
            entries.push(("..".into(), tree.parent(id.0), FileType::Directory));
            entries.extend(tree.list(id.0)?);
            Ok(entries)
        });
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => return reply.error(error),
        };
        for (at, (name, id, kind)) in (1u64..).zip(entries).skip(usize::try_from(offset).unwrap_or(usize::MAX)) {
            if reply.add(INodeNo(id), at, kind, &name) {
                break;
            }
        }
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, id: INodeNo, handle: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(reply, self.with_handle(handle, |tree| tree.sync_directory(id.0)));
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let free = 1 << 24;
        reply.statfs(free, free, free, free, free, 4096, 255, 4096);
    }

    fn create(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, _: i32, reply: ReplyCreate) {
        match self.create_file(request, (parent.0, name), mode) {
            Ok((made, boot)) => {
                reply.created(&NOT_CACHED, &made, Generation(0), FileHandle(boot), FopenFlags::FOPEN_DIRECT_IO);
            }
            Err(error) => reply.error(error),
        }
    }

    fn fallocate(
        &self,
        _: &Request,
        id: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if mode != 0 {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let grown = self.with_handle(handle, |tree| {
            let end = offset.saturating_add(length);
            if tree.node(id.0)?.size() < end { tree.resize(id.0, end) } else { Ok(()) }
        });
        empty(reply, grown);
    }
}
