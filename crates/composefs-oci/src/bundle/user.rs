//! Who runs: `USER[:GROUP]` looked up in the image's own files.
//!
//! # Format
//! passwd(5), group(5); `User` of the image specification's `config.md`.

use super::{BundleError, UserNamespace};

/// The largest id: the one above means "none" to the kernel.
const ID_MAX: u32 = u32::MAX - 1;

/// The most groups that a process can be in (`NGROUPS_MAX`).
const GROUPS_MAX: usize = 65_536;

/// Ids of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Account {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Further groups, in the order of the file, each once.
    pub groups: Vec<u32>,
    /// The home directory, if the image knows the user.
    pub home: Option<String>,
}

impl Account {
    /// Leaves out further groups that a user namespace does not have.
    ///
    /// # Errors
    /// [`BundleError::NotMapped`] for a user or group that it does not have.
    pub(super) fn fit(&mut self, namespace: UserNamespace) -> Result<(), BundleError> {
        for (id, limit) in [(self.uid, namespace.uids), (self.gid, namespace.gids)] {
            if id >= limit {
                return Err(BundleError::NotMapped { id, limit });
            }
        }
        self.groups.retain(|gid| namespace.gids > 1 && *gid < namespace.gids);
        Ok(())
    }
}

struct Passwd<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// Lines that are entries; others (comments, NIS lines, broken ones) are passed over, as the C library does.
fn lines(file: &[u8]) -> impl Iterator<Item = &str> {
    file.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok())
}

fn users(passwd: &[u8]) -> impl Iterator<Item = Passwd<'_>> {
    lines(passwd).filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let home = fields.nth(1).unwrap_or_default();
        let (uid, gid) = (entry_id(uid)?, entry_id(gid)?);
        (!name.is_empty()).then_some(Passwd { name, uid, gid, home })
    })
}

fn groups(group: &[u8]) -> impl Iterator<Item = Group<'_>> {
    lines(group).filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
        let gid = entry_id(gid)?;
        (!name.is_empty()).then_some(Group { name, gid, members: fields.next().unwrap_or_default() })
    })
}

/// The id in an entry, if it can be one.
fn entry_id(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id <= ID_MAX)
}

/// A text of digits as an id.
fn number(text: &str) -> Result<Option<u32>, BundleError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse() {
        Ok(id) if id <= ID_MAX => Ok(Some(id)),
        _ => Err(BundleError::NoSuchId { id: text.to_owned() }),
    }
}

/// Looks up `USER[:GROUP]`, each a name or a number; an empty user is 0. A name that is all digits is a name first.
///
/// A user that is not in `passwd` but a number has group 0. Without GROUP the further groups are those that list the
/// user.
///
/// # Errors
/// [`BundleError::NoSuchUser`], [`BundleError::NoSuchGroup`], [`BundleError::NoSuchId`].
pub fn look_up(text: &str, passwd: &[u8], group: &[u8]) -> Result<Account, BundleError> {
    let (user, wanted) = text.split_once(':').unwrap_or((text, ""));
    let user = if user.is_empty() { "0" } else { user };
    let id = number(user)?;
    let known = users(passwd)
        .find(|entry| entry.name == user)
        .or_else(|| users(passwd).find(|entry| Some(entry.uid) == id));
    let mut account = match (&known, id) {
        (Some(entry), _) => Account {
            uid: entry.uid,
            gid: entry.gid,
            groups: Vec::new(),
            home: (!entry.home.is_empty()).then(|| entry.home.to_owned()),
        },
        (None, Some(uid)) => Account { uid, ..Account::default() },
        (None, None) => return Err(BundleError::NoSuchUser { user: user.to_owned() }),
    };
    if wanted.is_empty() {
        if let Some(entry) = known {
            for further in groups(group) {
                if further.members.split(',').any(|member| member.trim() == entry.name)
                    && further.gid != account.gid
                    && !account.groups.contains(&further.gid)
                    && account.groups.len() < GROUPS_MAX
                {
                    account.groups.push(further.gid);
                }
            }
        }
        return Ok(account);
    }
    let id = number(wanted)?;
    account.gid = groups(group)
        .find(|entry| entry.name == wanted)
        .map(|entry| entry.gid)
        .or(id)
        .ok_or_else(|| BundleError::NoSuchGroup { group: wanted.to_owned() })?;
    Ok(account)
}
