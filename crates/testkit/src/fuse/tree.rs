//! The file tree, twice: as processes see it and as the disk has it. No FUSE in here.
//!
//! What is modelled: file bytes and sizes become durable by `fsync`/`fdatasync` of the file (or by a write to a file
//! opened with `O_SYNC`/`O_DSYNC`); names (create, rename, unlink, mkdir, rmdir, link) by `fsync` of their directory,
//! or, as ext4, xfs and btrfs do, by `fsync` of the new file itself ([`Names::WithFile`]). [`Names::DirectoryOnly`] is
//! the letter of POSIX. Owners, modes and times are durable at once.

use super::file::{FileBytes, Lost, Unsynced};
use fuser::{Errno, FileType};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ffi::{OsStr, OsString},
    path::PathBuf,
    time::SystemTime,
};

pub const ROOT: u64 = 1;
type Done<T = ()> = Result<T, Errno>;

/// When a new name survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// By `fsync` of the file or of the directory (ext4, xfs, btrfs).
    WithFile,
    /// By `fsync` of the directory only (POSIX).
    DirectoryOnly,
}

#[derive(Debug, Clone)]
pub struct Attributes {
    pub kind: FileType,
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub modified: SystemTime,
    pub accessed: SystemTime,
    pub changed: SystemTime,
}

#[derive(Debug)]
enum Content {
    File(FileBytes),
    Directory(Directory),
    Link(PathBuf),
    /// A socket or a pipe: a name only.
    Special,
}

#[derive(Debug, Default)]
struct Directory {
    live: BTreeMap<OsString, u64>,
    disk: BTreeMap<OsString, u64>,
}

#[derive(Debug)]
pub struct Node {
    pub attributes: Attributes,
    content: Content,
    /// Live names, with the directory that holds each.
    names: Vec<(u64, OsString)>,
    opened: u64,
}

#[derive(Debug)]
pub struct Tree {
    nodes: HashMap<u64, Node>,
    next: u64,
    names: Names,
    /// Handles of an earlier life of the machine are dead.
    boot: u64,
    orphans: HashSet<u64>,
}

impl Node {
    #[must_use]
    pub fn size(&self) -> u64 {
        match &self.content {
            Content::File(bytes) => bytes.len(),
            Content::Link(target) => target.as_os_str().len() as u64,
            Content::Directory(_) | Content::Special => 0,
        }
    }

    #[must_use]
    pub fn links(&self) -> u32 {
        let names = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        if matches!(self.content, Content::Directory(_)) { 2 } else { names }
    }
}

impl Tree {
    #[must_use]
    pub fn new(names: Names) -> Self {
        let now = crate::clock::file_time();
        let attributes = Attributes {
            kind: FileType::Directory,
            mode: 0o777,
            uid: 0,
            gid: 0,
            modified: now,
            accessed: now,
            changed: now,
        };
        let root = Node { attributes, content: Content::Directory(Directory::default()), names: Vec::new(), opened: 0 };
        Self { nodes: HashMap::from([(ROOT, root)]), next: 2, names, boot: 0, orphans: HashSet::new() }
    }

    #[must_use]
    pub fn boot(&self) -> u64 {
        self.boot
    }

    pub fn node(&self, id: u64) -> Done<&Node> {
        self.nodes.get(&id).ok_or(Errno::ENOENT)
    }

    pub fn node_mut(&mut self, id: u64) -> Done<&mut Node> {
        self.nodes.get_mut(&id).ok_or(Errno::ENOENT)
    }

    fn directory(&self, id: u64) -> Done<&Directory> {
        match &self.node(id)?.content {
            Content::Directory(directory) => Ok(directory),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn directory_mut(&mut self, id: u64) -> Done<&mut Directory> {
        match &mut self.node_mut(id)?.content {
            Content::Directory(directory) => Ok(directory),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn file_mut(&mut self, id: u64) -> Done<&mut FileBytes> {
        match &mut self.node_mut(id)?.content {
            Content::File(bytes) => Ok(bytes),
            Content::Directory(_) => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }

    pub fn lookup(&self, parent: u64, name: &OsStr) -> Done<u64> {
        self.directory(parent)?.live.get(name).copied().ok_or(Errno::ENOENT)
    }

    pub fn list(&self, id: u64) -> Done<Vec<(OsString, u64, FileType)>> {
        let entries = self.directory(id)?.live.iter();
        entries.map(|(name, id)| Ok((name.clone(), *id, self.node(*id)?.attributes.kind))).collect()
    }

    pub fn parent(&self, id: u64) -> u64 {
        self.nodes.get(&id).and_then(|node| node.names.first()).map_or(ROOT, |(parent, _)| *parent)
    }

    pub fn make(&mut self, parent: u64, name: &OsStr, attributes: Attributes) -> Done<u64> {
        let content = match attributes.kind {
            FileType::RegularFile => Content::File(FileBytes::default()),
            FileType::Directory => Content::Directory(Directory::default()),
            FileType::Socket | FileType::NamedPipe => Content::Special,
            _ => return Err(Errno::EPERM),
        };
        self.insert(parent, name, attributes, content)
    }

    pub fn make_link(&mut self, parent: u64, name: &OsStr, target: PathBuf, attributes: Attributes) -> Done<u64> {
        self.insert(parent, name, attributes, Content::Link(target))
    }

    fn insert(&mut self, parent: u64, name: &OsStr, attributes: Attributes, content: Content) -> Done<u64> {
        let id = self.next;
        let directory = self.directory_mut(parent)?;
        if directory.live.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        directory.live.insert(name.to_owned(), id);
        self.next += 1;
        self.nodes.insert(id, Node { attributes, content, names: vec![(parent, name.to_owned())], opened: 0 });
        Ok(id)
    }

    pub fn hard_link(&mut self, id: u64, parent: u64, name: &OsStr) -> Done {
        if self.directory(parent)?.live.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        self.node_mut(id)?.names.push((parent, name.to_owned()));
        self.directory_mut(parent)?.live.insert(name.to_owned(), id);
        Ok(())
    }

    pub fn target(&self, id: u64) -> Done<&PathBuf> {
        match &self.node(id)?.content {
            Content::Link(target) => Ok(target),
            _ => Err(Errno::EINVAL),
        }
    }

    pub fn unlink(&mut self, parent: u64, name: &OsStr) -> Done {
        let id = self.lookup(parent, name)?;
        if matches!(self.node(id)?.content, Content::Directory(_)) {
            return Err(Errno::EISDIR);
        }
        self.take_name(parent, name, id)
    }

    pub fn rmdir(&mut self, parent: u64, name: &OsStr) -> Done {
        let id = self.lookup(parent, name)?;
        if !self.directory(id)?.live.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        self.take_name(parent, name, id)
    }

    fn take_name(&mut self, parent: u64, name: &OsStr, id: u64) -> Done {
        self.directory_mut(parent)?.live.remove(name);
        let node = self.node_mut(id)?;
        node.names.retain(|(at, called)| (*at, called.as_os_str()) != (parent, name));
        if node.names.is_empty() {
            self.orphans.insert(id);
        }
        Ok(())
    }

    pub fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr), replace: bool) -> Done {
        let id = self.lookup(from.0, from.1)?;
        if from == to {
            return Ok(());
        }
        if let Ok(old) = self.lookup(to.0, to.1) {
            if old == id {
                return Ok(());
            }
            if !replace {
                return Err(Errno::EEXIST);
            }
            match (&self.node(id)?.content, &self.node(old)?.content) {
                (Content::Directory(_), Content::Directory(_)) => self.rmdir(to.0, to.1)?,
                (_, Content::Directory(_)) => return Err(Errno::EISDIR),
                (Content::Directory(_), _) => return Err(Errno::ENOTDIR),
                _ => self.unlink(to.0, to.1)?,
            }
        }
        self.directory_mut(to.0)?.live.insert(to.1.to_owned(), id);
        self.directory_mut(from.0)?.live.remove(from.1);
        let names = &mut self.node_mut(id)?.names;
        names.retain(|(at, called)| (*at, called.as_os_str()) != from);
        names.push((to.0, to.1.to_owned()));
        Ok(())
    }

    pub fn opened(&mut self, id: u64) -> Done {
        self.node_mut(id)?.opened += 1;
        Ok(())
    }

    pub fn released(&mut self, id: u64) {
        if let Ok(node) = self.node_mut(id) {
            node.opened = node.opened.saturating_sub(1);
        }
        self.sweep();
    }

    pub fn read(&self, id: u64, offset: u64, size: u64) -> Done<&[u8]> {
        match &self.node(id)?.content {
            Content::File(bytes) => Ok(bytes.read(offset, size)),
            _ => Err(Errno::EISDIR),
        }
    }

    pub fn write(&mut self, id: u64, offset: u64, data: &[u8]) -> Done {
        self.file_mut(id)?.write(offset, data);
        self.node_mut(id)?.attributes.modified = crate::clock::file_time();
        Ok(())
    }

    pub fn resize(&mut self, id: u64, size: u64) -> Done {
        self.file_mut(id)?.resize(size);
        self.node_mut(id)?.attributes.modified = crate::clock::file_time();
        Ok(())
    }

    /// `fsync` of a file.
    pub fn sync_file(&mut self, id: u64) -> Done {
        self.file_mut(id)?.sync();
        if self.names == Names::WithFile {
            self.sync_names(id)?;
        }
        Ok(())
    }

    /// The names of a file, and of new directories above it, reach the disk with it; nothing else of them does.
    fn sync_names(&mut self, id: u64) -> Done {
        let mut todo = vec![id];
        let mut seen = BTreeSet::new();
        while let Some(id) = todo.pop() {
            if !seen.insert(id) {
                continue;
            }
            for (parent, name) in self.node(id)?.names.clone() {
                let directory = self.directory_mut(parent)?;
                if directory.disk.get(&name) != Some(&id) {
                    // A rename is one journal entry: the old name goes when the new one comes.
                    directory.disk.insert(name, id);
                    self.forget_stale_names(id);
                }
                todo.push(parent);
            }
        }
        Ok(())
    }

    fn forget_stale_names(&mut self, id: u64) {
        let names: Vec<_> = self.nodes.get(&id).map(|node| node.names.clone()).unwrap_or_default();
        for (at, node) in &mut self.nodes {
            if let Content::Directory(directory) = &mut node.content {
                directory.disk.retain(|name, held| {
                    *held != id || names.iter().any(|(parent, called)| parent == at && called == name)
                });
            }
        }
    }

    /// `fsync` of a directory.
    pub fn sync_directory(&mut self, id: u64) -> Done {
        let directory = self.directory_mut(id)?;
        directory.disk.clone_from(&directory.live);
        if self.names == Names::WithFile {
            self.sync_names(id)?;
        }
        self.sweep();
        Ok(())
    }

    /// Frees what neither a process nor the disk can name any more.
    fn sweep(&mut self) {
        if self.orphans.is_empty() {
            return;
        }
        let mut named = HashSet::new();
        for node in self.nodes.values() {
            if let Content::Directory(directory) = &node.content {
                named.extend(directory.disk.values().copied());
            }
        }
        let nodes = &mut self.nodes;
        self.orphans.retain(|id| {
            let keep = named.contains(id) || nodes.get(id).is_some_and(|node| node.opened > 0);
            if !keep {
                nodes.remove(id);
            }
            keep
        });
    }

    /// The power goes: bytes and names are what the disk has; handles of this life are dead.
    pub fn cut(&mut self, unsynced: Unsynced) -> Lost {
        let mut lost = Lost::default();
        for (id, node) in &mut self.nodes {
            node.opened = 0;
            node.names.clear();
            match &mut node.content {
                Content::File(bytes) => lost += bytes.cut(unsynced, *id),
                Content::Directory(directory) => {
                    lost.names += differences(&directory.live, &directory.disk);
                    directory.live.clone_from(&directory.disk);
                }
                Content::Link(_) | Content::Special => {}
            }
        }
        self.boot += 1;
        self.rebuild_names();
        lost
    }

    /// Walks down from the root; what it does not meet is gone.
    fn rebuild_names(&mut self) {
        let mut todo = vec![ROOT];
        let mut met = HashSet::from([ROOT]);
        while let Some(at) = todo.pop() {
            let Ok(entries) = self.directory(at).map(|directory| directory.live.clone()) else { continue };
            for (name, id) in entries {
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.names.push((at, name));
                    if met.insert(id) {
                        todo.push(id);
                    }
                }
            }
        }
        self.nodes.retain(|id, _| met.contains(id));
        self.orphans.clear();
    }
}

fn differences(live: &BTreeMap<OsString, u64>, disk: &BTreeMap<OsString, u64>) -> u64 {
    let changed = live.iter().filter(|(name, id)| disk.get(*name) != Some(*id)).count();
    let removed = disk.keys().filter(|name| !live.contains_key(*name)).count();
    (changed + removed) as u64
}
