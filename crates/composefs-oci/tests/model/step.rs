//! What can be done to a repository, and how likely it is.

use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::{
    family::{Kind, Name, Of},
    killed::CALLS,
};

/// One thing done. Every step can be done at any time: a tag that is not there is an error that is expected.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A pull.
    Pull(Pull),
    /// The manifest of one tag gets another.
    Tag { from: char, to: char },
    /// A tag goes.
    Untag(char),
    /// The image of a tag is sealed; without a name, for nobody.
    Seal { tag: char, name: Option<char> },
    /// The name of a sealed config goes.
    Unseal(char),
    /// The image of a tag is mounted, as far as the repository knows.
    Mount { tag: char, id: u64 },
    /// The record of a mount goes.
    Unmount(u64),
    /// The record of a mount that was there before the machine was booted.
    OldMount(char),
    /// Garbage is planned and swept.
    Collect,
    /// Garbage is swept, with the manifest of an image as a further root.
    CollectBut(Name),
    /// Garbage is planned; the sweep comes later.
    Plan,
    /// What was planned is swept.
    Sweep,
    /// The process ends and another begins.
    Reopen,
    /// Objects are stored, names prepared, and nothing committed.
    Abandon(u8),
    /// Objects are damaged, the how-manieth of those there are.
    Damage { object: u16, how: Damage },
    /// A step is done by a process that is killed at its so-manieth system call of a name.
    Killed { step: Box<Step>, call: &'static str, nth: usize },
    /// Damage is mended: what is no good is removed, and all images pulled again.
    Mend,
}

/// A pull, and what befalls it.
#[derive(Clone, Debug)]
pub(crate) struct Pull {
    pub(crate) of: Of,
    pub(crate) tag: Option<char>,
    /// With the images for other platforms.
    pub(crate) all: bool,
    /// Without an EROFS image.
    pub(crate) skip: bool,
    pub(crate) jobs: usize,
    /// From a medium that is waited for, without a lock.
    pub(crate) remote: bool,
    /// What others do when so many blobs were opened, if the medium is waited for.
    pub(crate) meanwhile: Option<(usize, Box<Step>)>,
    pub(crate) fault: Option<Fault>,
}

impl Pull {
    /// A pull to which nothing happens.
    pub(crate) const fn of(of: Of, tag: Option<char>) -> Self {
        Self { of, tag, all: false, skip: false, jobs: 1, remote: false, meanwhile: None, fault: None }
    }

    /// Tells whether the index comes with it.
    pub(crate) const fn keeps_index(&self) -> bool {
        self.all && matches!(self.of, Of::Index { .. })
    }
}

/// What befalls a pull's source.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Somebody asks to stop when so many blobs were opened.
    Cancelled { blob: usize },
    /// The how-manieth blob cannot be read after so many bytes.
    Fails { blob: usize, after: u64 },
    /// The how-manieth blob ends after so many bytes.
    Ends { blob: usize, after: u64 },
    /// The how-manieth blob has a wrong byte.
    Lies { blob: usize, at: u64 },
}

/// What befalls an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// It goes.
    Delete,
    /// One bit of it.
    Flip(u16),
    /// All after some bytes.
    Cut(u16),
}

fn tag() -> impl Strategy<Value = char> {
    select(vec!['a', 'b', 'c', 'd'])
}

fn of() -> impl Strategy<Value = Of> {
    prop_oneof![
        4 => select(Name::EACH.to_vec()).prop_map(Of::Image),
        1 => any::<bool>().prop_map(|arm| Of::Index { arm }),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    let bytes = || prop_oneof![0..300_u64, 0..1_200_000_u64];
    prop_oneof![
        (1..5_usize).prop_map(|blob| Fault::Cancelled { blob }),
        (1..5_usize, bytes()).prop_map(|(blob, after)| Fault::Fails { blob, after }),
        (1..5_usize, bytes()).prop_map(|(blob, after)| Fault::Ends { blob, after }),
        (1..5_usize, bytes()).prop_map(|(blob, at)| Fault::Lies { blob, at }),
    ]
}

/// What others do beside a pull.
fn beside() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Collect),
        1 => tag().prop_map(Step::Untag),
        1 => (of(), option::of(tag())).prop_map(|(of, tag)| Step::Pull(Pull::of(of, tag))),
    ]
}

fn pull() -> impl Strategy<Value = Pull> {
    let skip = prop::bool::weighted(0.2);
    let fault = option::weighted(0.25, fault());
    let tag = option::weighted(0.9, tag());
    let meanwhile = option::weighted(0.5, (1..5_usize, beside().prop_map(Box::new)));
    (of(), tag, any::<bool>(), skip, select(vec![1, 3]), fault, any::<bool>(), meanwhile).prop_map(
        |(of, tag, all, skip, jobs, fault, remote, meanwhile)| {
            let meanwhile = meanwhile.filter(|_| remote);
            Pull { of, tag, all, skip, jobs, remote, meanwhile, fault }
        },
    )
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![Just(Damage::Delete), any::<u16>().prop_map(Damage::Flip), any::<u16>().prop_map(Damage::Cut),]
}

fn killed() -> impl Strategy<Value = Step> {
    let step = prop_oneof![
        4 => pull().prop_map(|pull| Step::Pull(Pull { fault: None, meanwhile: None, ..pull })),
        1 => (tag(), tag()).prop_map(|(from, to)| Step::Tag { from, to }),
        1 => tag().prop_map(Step::Untag),
        2 => tag().prop_map(|tag| Step::Seal { tag, name: Some('x') }),
        3 => Just(Step::Collect),
    ];
    (step, select(CALLS.to_vec()), 1..10_usize).prop_map(|(step, call, nth)| Step::Killed {
        step: Box::new(step),
        call,
        nth,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => pull().prop_map(Step::Pull),
        2 => (tag(), tag()).prop_map(|(from, to)| Step::Tag { from, to }),
        4 => tag().prop_map(Step::Untag),
        2 => (tag(), option::weighted(0.7, select(vec!['x', 'y']))).prop_map(|(tag, name)| Step::Seal { tag, name }),
        1 => select(vec!['x', 'y']).prop_map(Step::Unseal),
        1 => (tag(), 1..3_u64).prop_map(|(tag, id)| Step::Mount { tag, id }),
        1 => (1..3_u64).prop_map(Step::Unmount),
        1 => tag().prop_map(Step::OldMount),
        4 => Just(Step::Collect),
        1 => select(Name::EACH.to_vec()).prop_map(Step::CollectBut),
        2 => Just(Step::Plan),
        2 => Just(Step::Sweep),
        2 => Just(Step::Reopen),
        1 => any::<u8>().prop_map(Step::Abandon),
        2 => (any::<u16>(), damage()).prop_map(|(object, how)| Step::Damage { object, how }),
        2 => Just(Step::Mend),
        2 => killed(),
    ]
}

/// A kind of repository and what is done to it.
pub(crate) fn list(sha512: bool) -> impl Strategy<Value = (Kind, Vec<Step>)> {
    let kind = any::<bool>().prop_map(move |both_formats| Kind { sha512, both_formats });
    (kind, vec(step(), 1..24))
}
