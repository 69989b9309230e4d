//! Lists that failed once, and those that everybody should see done.

use crate::{
    family::{Kind, Name, Of},
    random::play,
    step::{Damage, Fault, Pull, Step},
};

fn pull(of: Of, tag: char) -> Step {
    Step::Pull(Pull { of, tag: Some(tag), all: false, skip: false, jobs: 1, fault: None })
}

fn index(arm: bool, tag: char) -> Step {
    Step::Pull(Pull { of: Of::Index { arm }, tag: Some(tag), all: true, skip: false, jobs: 1, fault: None })
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
    let without =
        Pull { of: Of::Image(Name::Arm), tag: Some('a'), all: false, skip: true, jobs: 1, fault: None };
    both(&[Step::Pull(without), pull(Of::Image(Name::ArmZstd), 'b'), index(false, 'c'), Step::Untag('b')]);
}

/// A pull without an image took a config for whole that named an image which was lost.
#[test]
fn no_pull_leaves_the_name_of_a_lost_image() {
    let without = |tag| {
        Step::Pull(Pull { of: Of::Image(Name::Base), tag, all: false, skip: true, jobs: 1, fault: None })
    };
    for object in 0..9 {
        let steps = [
            Step::Pull(Pull {
                of: Of::Image(Name::Base),
                tag: None,
                all: false,
                skip: false,
                jobs: 1,
                fault: None,
            }),
            Step::Damage { object, how: Damage::Delete },
            without(Some('a')),
        ];
        play(Kind { sha512: false, both_formats: false }, &steps).unwrap();
    }
}

#[test]
fn a_day() {
    let failing = Pull {
        of: Of::Image(Name::All),
        tag: Some('a'),
        all: false,
        skip: false,
        jobs: 1,
        fault: Some(Fault::Fails { blob: 3, after: 100 }),
    };
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
