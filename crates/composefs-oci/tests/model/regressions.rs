//! Lists that failed once, and those that everybody should see done.

use crate::{
    family::{Kind, Name, Of},
    killed::killed_so_far,
    random::play,
    step::{Damage, Fault, Pull, Step},
};

fn pull(of: Of, tag: char) -> Step {
    Step::Pull(Pull::of(of, Some(tag)))
}

fn index(arm: bool, tag: char) -> Step {
    Step::Pull(Pull { all: true, ..Pull::of(Of::Index { arm }, Some(tag)) })
}

fn both(steps: &[Step]) {
    for sha512 in [false, true] {
        play(Kind { sha512, both_formats: sha512 }, steps).unwrap();
    }
}

#[test]
fn every_image_by_itself() {
    for name in Name::EACH {
        both(&[pull(Of::Image(name), 'a'), Step::Collect, Step::Untag('a')]);
    }
}

/// An image for another platform, beside the index, was kept as it was though a file of it was gone.
#[test]
fn an_index_wants_its_other_images_whole() {
    for object in 0..16 {
        let kind = Kind { sha512: false, both_formats: false };
        let steps = [
            pull(Of::Image(Name::App), 'b'),
            Step::Damage { object, how: Damage::Delete },
            index(true, 'a'),
            Step::Untag('b'),
        ];
        play(kind, &steps).unwrap();
    }
}

/// The index's image for another platform took the place of the one that a tag leads to.
#[test]
fn an_index_leaves_tagged_images_unpacked() {
    let without = Pull { skip: true, ..Pull::of(Of::Image(Name::Arm), Some('a')) };
    both(&[Step::Pull(without), pull(Of::Image(Name::ArmZstd), 'b'), index(false, 'c'), Step::Untag('b')]);
}

/// A pull without an image took a config for whole that named an image which was lost.
#[test]
fn no_pull_leaves_the_name_of_a_lost_image() {
    for object in 0..9 {
        let base = Pull::of(Of::Image(Name::Base), None);
        let without = Pull { skip: true, ..Pull::of(Of::Image(Name::Base), Some('a')) };
        let steps = [Step::Pull(base), Step::Damage { object, how: Damage::Delete }, Step::Pull(without)];
        play(Kind { sha512: false, both_formats: false }, &steps).unwrap();
    }
}

#[test]
fn a_day() {
    let fault = Some(Fault::Fails { blob: 3, after: 100 });
    let failing = Pull { fault, ..Pull::of(Of::Image(Name::All), Some('a')) };
    both(&[
        pull(Of::Image(Name::App), 'a'),
        Step::Pull(failing),
        Step::Seal { tag: 'a', name: Some('x') },
        Step::Mount { tag: 'a', id: 1 },
        Step::Plan,
        pull(Of::Image(Name::Large), 'b'),
        Step::Untag('a'),
        Step::Sweep,
        Step::Damage { object: 3, how: Damage::Flip(9) },
        Step::Collect,
        Step::Mend,
        Step::Unmount(1),
        Step::Collect,
    ]);
}

/// Others collect what a pull has found while it waits for the rest.
#[test]
fn collections_beside_pulls() {
    for (blob, all) in [(1, false), (2, false), (3, true), (4, true)] {
        let meanwhile = Some((blob, Box::new(Step::Collect)));
        let waiting = Pull { all, remote: true, meanwhile, ..Pull::of(Of::Index { arm: false }, Some('a')) };
        both(&[pull(Of::Image(Name::Arm), 'b'), Step::Untag('b'), Step::Pull(waiting)]);
    }
}

/// Some of these processes are killed before they are done, all of them but those that call less often.
#[test]
fn processes_that_are_killed() {
    for (call, nth) in [("linkat", 2), ("symlinkat", 1), ("symlinkat", 5), ("syncfs", 1), ("fsync", 2)] {
        let large = Pull { jobs: 3, ..Pull::of(Of::Image(Name::Large), Some('a')) };
        let killed = |step| Step::Killed { step: Box::new(step), call, nth };
        play(
            Kind { sha512: false, both_formats: false },
            &[
                pull(Of::Image(Name::App), 'a'),
                killed(Step::Pull(large)),
                killed(Step::Seal { tag: 'a', name: Some('x') }),
                killed(Step::Collect),
            ],
        )
        .unwrap();
    }
    assert!(killed_so_far() > 0, "no process was killed");
}

/// An image as shipped whose layers are here, too, for it is here packed otherwise.
#[test]
fn what_is_lost_of_an_index_comes_again() {
    for object in 0..30 {
        let arm = Pull { skip: true, ..Pull::of(Of::Image(Name::ArmZstd), None) };
        let all = Pull { all: true, skip: true, ..Pull::of(Of::Index { arm: false }, Some('a')) };
        let steps = [Step::Pull(arm), Step::Pull(all), Step::Damage { object, how: Damage::Delete }];
        play(Kind { sha512: true, both_formats: false }, &steps).unwrap();
    }
}

/// A record of an earlier boot is there when the list ends: to be collected, and no damage.
#[test]
fn an_old_mount_of_an_image_for_elsewhere() {
    both(&[
        Step::Pull(Pull::of(Of::Image(Name::Arm), None)),
        pull(Of::Index { arm: true }, 'b'),
        Step::OldMount('b'),
    ]);
}
