use anyhow::{Context as _, bail};

use crate::fetch::digest::Expected;

/// Files of an archive and what each has to be, by path. It does not change.
///
/// Debian's `main` has 63,000 packages: one text for all paths, and rows in their order, are an eighth of what a map would take.
#[derive(Debug, Default)]
pub struct Table {
    paths: Box<str>,
    /// In the order of their paths.
    rows: Box<[Row]>,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    /// Where the path is in `paths`.
    from: u32,
    to: u32,
    expected: Expected,
}

impl Row {
    fn path<'p>(&self, paths: &'p str) -> &'p str {
        &paths[self.from as usize..self.to as usize]
    }
}

impl Table {
    /// What the file at a path below the archive's root has to be.
    pub fn find(&self, path: &str) -> Option<Expected> {
        let at = self.rows.binary_search_by(|row| row.path(&self.paths).cmp(path)).ok()?;
        self.rows.get(at).map(|row| row.expected)
    }

    /// How many files it lists.
    pub fn len(&self) -> usize {
        self.rows.len()
    }
}

/// A table that is being filled, in any order.
#[derive(Debug, Default)]
pub struct TableBuilder {
    paths: String,
    rows: Vec<Row>,
}

impl TableBuilder {
    /// Adds a file.
    ///
    /// # Errors
    /// When there are more paths than 4 GiB.
    pub fn add(&mut self, path: &str, expected: Expected) -> anyhow::Result<()> {
        let place = |at: usize| u32::try_from(at).context("it lists too many files");
        let from = place(self.paths.len())?;
        self.paths.push_str(path);
        self.rows.push(Row { from, to: place(self.paths.len())?, expected });
        Ok(())
    }

    /// The table.
    ///
    /// # Errors
    /// When it has two contents for one path.
    pub fn finish(self) -> anyhow::Result<Table> {
        let Self { paths, mut rows } = self;
        rows.sort_by(|a, b| a.path(&paths).cmp(b.path(&paths)));
        let same_path = |a: &Row, b: &Row| a.path(&paths) == b.path(&paths);
        if let Some(pair) =
            rows.windows(2).find(|pair| same_path(&pair[0], &pair[1]) && pair[0].expected != pair[1].expected)
        {
            bail!("it lists {} twice, as different files", pair[0].path(&paths));
        }
        rows.dedup_by(|a, b| same_path(a, b));
        Ok(Table { rows: rows.into(), paths: paths.into() })
    }
}
