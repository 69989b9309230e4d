//! EROFS images: read, checked, and what could be read written and read again.
#![allow(clippy::expect_used)]

use composefs::{
    digest::Algorithm,
    erofs::{self, Image, ReadLimits, WriteOptions},
    filetree::FileTree,
};

/// Takes any bytes as an image, as they are and with the headers put right.
pub fn run(data: &[u8]) {
    read(data);
    read(&mend(data));
}

/// Puts right what would have an image refused before its inodes are looked at.
fn mend(data: &[u8]) -> Vec<u8> {
    let mut image = data.to_vec();
    image.resize(data.len().max(4096).next_multiple_of(4096), 0);
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &[0x9a, 0x62, 0x78, 0xd0, 1, 0, 0, 0]);
    put(12, &[data.get(12).map_or(1, |version| version % 3), 0, 0, 0]);
    put(1024, &[0xe2, 0xe1, 0xf5, 0xe0, 0, 0, 0, 0, 6, 0, 0, 0, 12, 0]);
    put(1056, &[0; 4]);
    put(1064, &[0; 4]);
    put(1104, &[0; 48]);
    let blocks = u32::try_from(image.len() / 4096).unwrap_or(u32::MAX);
    image[1060..1064].copy_from_slice(&blocks.to_le_bytes());
    image
}

fn read(data: &[u8]) {
    let limits = ReadLimits::default().image_bytes(4 << 20).tree_bytes(16 << 20);
    let Ok(image) = Image::open(data, &limits) else { return };
    for algorithm in Algorithm::ALL {
        let tree = erofs::to_tree(&image, algorithm);
        assert_eq!(erofs::check(&image, algorithm), tree.as_ref().map(|_| ()).map_err(Clone::clone));
        let ids = erofs::object_ids(&image, algorithm);
        let Ok(tree) = tree else { continue };
        assert!(ids.is_ok());
        look_up(&image, &tree);
        // The writer has limits that depend on what is shared; an image needs not have kept them.
        let Ok(first) = erofs::to_vec(&tree, image.version(), &WriteOptions::default()) else { continue };
        let first_image = Image::open(&first, &limits.image_bytes(1 << 30)).expect("our own image opens");
        let again = erofs::to_tree(&first_image, algorithm).expect("our own image is read");
        assert_eq!(tree.name_counts().iter().sum::<u32>(), again.name_counts().iter().sum::<u32>());
        let second = erofs::to_vec(&again, image.version(), &WriteOptions::default())
            .expect("what was read is written");
        assert!(first == second, "another image when written again");
    }
}

/// Looks up the first names of the tree, by bisection.
fn look_up(image: &Image<'_>, tree: &FileTree) {
    let mut path: Vec<&[u8]> = Vec::new();
    for step in tree.depth_first().take(100) {
        path.truncate(step.depth.saturating_sub(1));
        path.extend(step.name.map(|name| name.as_bytes()));
        assert!(image.lookup(&path).is_ok());
    }
}
