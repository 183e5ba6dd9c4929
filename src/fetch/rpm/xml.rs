//! XML as metalinks and repositories use it: elements, attributes, text. Pure.
//!
//! It is read as hostile: a document, a piece of it and its depth are limited, a document type is refused (so that no entity
//! is ever defined), and an element that is not closed is an error.

use std::io::{self, BufRead, Read};

use anyhow::{Context as _, bail, ensure};
use quick_xml::{
    Reader, XmlVersion,
    escape::resolve_predefined_entity,
    events::{BytesStart, Event},
};

/// The most one tag or one stretch of text may have: descriptions of packages have some tens of kB.
const PIECE_LIMIT: u64 = 1 << 20;
/// How deep elements may nest; these formats need five levels.
const DEPTH_LIMIT: usize = 32;
/// What is kept of comments, in which MirrorManager says what is wrong.
const COMMENT_LIMIT: usize = 300;

/// A document that is read from front to back.
pub struct Xml<R> {
    reader: Reader<Metered<R>>,
    buffer: Vec<u8>,
    depth: usize,
    comments: String,
    /// Whether a document type may be named.
    typed: bool,
}

/// An element's name, without prefix, and its attributes.
#[derive(Debug)]
pub struct Element {
    /// `size` of `<mm0:size>`.
    pub name: String,
    attributes: Vec<(String, String)>,
}

impl Element {
    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The value of an attribute that has to be there.
    ///
    /// # Errors
    /// When it is not.
    pub fn required(&self, name: &str) -> anyhow::Result<&str> {
        self.attribute(name).with_context(|| format!("<{}> has no {name}", self.name))
    }

    fn new(tag: &BytesStart<'_>) -> anyhow::Result<Self> {
        let name = tag.local_name().into_inner().to_owned();
        let mut attributes = Vec::new();
        for attribute in tag.attributes() {
            let attribute = attribute.with_context(|| format!("reading <{name}>"))?;
            let value = attribute.normalized_value(XmlVersion::Implicit1_0);
            let value = value.with_context(|| format!("reading <{name}>"))?;
            attributes.push((attribute.key.0.to_owned(), value.into_owned()));
        }
        Ok(Self { name, attributes })
    }
}

impl<R: BufRead> Xml<R> {
    /// A document of at most `limit` bytes.
    pub fn new(document: R, limit: u64) -> Self {
        let mut reader = Reader::from_reader(Metered { inner: document, limit, read: 0, piece: 0 });
        reader.config_mut().expand_empty_elements = true;
        Self { reader, buffer: Vec::new(), depth: 0, comments: String::new(), typed: false }
    }

    /// Lets the document name its type, as lists of groups do. It is not looked at, and must not define anything.
    pub fn with_document_type(mut self) -> Self {
        self.typed = true;
        self
    }

    /// Visits every element inside the root, which has to have this name. What a visitor does not read is skipped.
    ///
    /// # Errors
    /// Another root, whatever is not well-formed, and the visitor's own.
    pub fn root(
        &mut self,
        name: &str,
        visit: impl FnMut(&mut Self, Element) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let root = self.open()?.context("it is not XML")?;
        ensure!(root.name == name, "it is a <{}>, not a <{name}>", root.name);
        self.children(visit)
    }

    /// Visits every element inside the one that was just opened.
    ///
    /// # Errors
    /// Whatever is not well-formed, and the visitor's own.
    pub fn children(&mut self, mut visit: impl FnMut(&mut Self, Element) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let outer = self.depth;
        while let Some(element) = self.open()? {
            visit(self, element)?;
            self.leave(outer)?;
        }
        Ok(())
    }

    /// The text of the element that was just opened, up to its end.
    ///
    /// # Errors
    /// When there are elements in it, or an entity that XML does not define.
    pub fn text(&mut self) -> anyhow::Result<String> {
        let mut text = String::new();
        loop {
            match self.event()? {
                Event::Text(piece) => text.push_str(&piece.xml10_content()),
                Event::CData(piece) => text.push_str(&piece.xml10_content()),
                Event::GeneralRef(name) => match name.resolve_char_ref()? {
                    Some(char) => text.push(char),
                    None => text.push_str(
                        resolve_predefined_entity(&name).with_context(|| format!("&{}; is not defined", &*name))?,
                    ),
                },
                Event::End(_) => break,
                Event::Start(tag) => bail!("there is a <{}> where text should be", tag.local_name().into_inner()),
                Event::Eof => bail!("it ends in the middle"),
                _ => {}
            }
            ensure!(text.len() as u64 <= PIECE_LIMIT, "a text is longer than {PIECE_LIMIT} bytes");
        }
        self.depth -= 1;
        Ok(text.trim().to_owned())
    }

    /// Reads what follows the root, and returns the length of the whole document in bytes.
    ///
    /// # Errors
    /// When there is a second root.
    pub fn finish(&mut self) -> anyhow::Result<u64> {
        loop {
            match self.event()? {
                Event::Eof => return Ok(self.reader.get_mut().read),
                Event::Start(_) | Event::End(_) => bail!("there is more behind its end"),
                _ => {}
            }
        }
    }

    /// What the comments so far say, shortened.
    pub fn comments(&self) -> &str {
        self.comments.trim()
    }

    /// The next element inside the open one; `None` at its end.
    fn open(&mut self) -> anyhow::Result<Option<Element>> {
        let outside = self.depth == 0;
        loop {
            match self.event()? {
                Event::Start(tag) => {
                    let element = Element::new(&tag)?;
                    self.deeper()?;
                    return Ok(Some(element));
                }
                Event::End(_) => {
                    self.depth -= 1;
                    return Ok(None);
                }
                Event::Eof if outside => return Ok(None),
                Event::Eof => bail!("it ends in the middle"),
                _ => {}
            }
        }
    }

    /// Skips to the end of everything deeper than `outer`.
    fn leave(&mut self, outer: usize) -> anyhow::Result<()> {
        while self.depth > outer {
            match self.event()? {
                Event::Start(_) => self.deeper()?,
                Event::End(_) => self.depth -= 1,
                Event::Eof => bail!("it ends in the middle"),
                _ => {}
            }
        }
        Ok(())
    }

    fn deeper(&mut self) -> anyhow::Result<()> {
        self.depth += 1;
        ensure!(self.depth <= DEPTH_LIMIT, "its elements nest deeper than {DEPTH_LIMIT}");
        Ok(())
    }

    fn event(&mut self) -> anyhow::Result<Event<'_>> {
        self.buffer.clear();
        self.reader.get_mut().piece = PIECE_LIMIT;
        let event = self.reader.read_event_into(&mut self.buffer).map_err(plain)?;
        match &event {
            // SECURITY: entities are defined nowhere else, so that nothing can be made to expand.
            Event::DocType(_) if !self.typed => bail!("it has a document type, which has no place here"),
            Event::DocType(text) => ensure!(!text.contains('['), "it defines entities, which have no place here"),
            Event::Comment(text) => {
                let room = COMMENT_LIMIT.saturating_sub(self.comments.len());
                let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
                self.comments.extend(words.chars().chain([' ']).take(room));
            }
            _ => {}
        }
        Ok(event)
    }
}

/// quick-xml's errors repeat their cause, which a chain says once already.
fn plain(error: quick_xml::Error) -> anyhow::Error {
    match error {
        quick_xml::Error::Io(error) => io::Error::new(error.kind(), error.to_string()).into(),
        error => anyhow::Error::msg(error.to_string()),
    }
}

/// Lets through `limit` bytes in all, and [`PIECE_LIMIT`] for each event: the reader would gather an endless one in memory.
struct Metered<R> {
    inner: R,
    limit: u64,
    read: u64,
    piece: u64,
}

impl<R: BufRead> BufRead for Metered<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let available = self.inner.fill_buf()?;
        let room = self.piece.min(self.limit - self.read);
        if room == 0 && !available.is_empty() {
            let what = if self.piece == 0 { "a piece of it" } else { "it" };
            let limit = if self.piece == 0 { PIECE_LIMIT } else { self.limit };
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{what} is longer than {limit} bytes")));
        }
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        Ok(&available[..available.len().min(room)])
    }

    fn consume(&mut self, read: usize) {
        self.inner.consume(read);
        self.read += read as u64;
        self.piece -= read as u64;
    }
}

impl<R: BufRead> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of the root's children with their texts.
    fn read(document: &str) -> anyhow::Result<Vec<(String, String)>> {
        let mut xml = Xml::new(document.as_bytes(), 3 << 20);
        let mut found = Vec::new();
        xml.root("r", |xml, element| {
            if element.name != "skipped" {
                found.push((element.name, xml.text()?));
            }
            Ok(())
        })?;
        xml.finish()?;
        Ok(found)
    }

    #[test]
    fn text_is_what_it_means_and_the_rest_is_skipped() {
        let document = "<?xml version='1.0'?>\n<p:r xmlns:p='u'><!-- c --><p:a> x &amp; &#x79;<![CDATA[<z>]]> </p:a>\
                        <skipped><a>no</a><b/></skipped><e/><skipped/></p:r>\n";
        let found = read(document).expect("a document");
        assert_eq!(found, [("a".into(), "x & y<z>".into()), ("e".into(), String::new())]);
    }

    #[test]
    fn what_is_not_a_whole_document_is_an_error() {
        let deep = format!("<r><skipped>{}", "<x>".repeat(100));
        let long = format!("<r><a>{}</a></r>", "x".repeat(2 << 20));
        let large = format!("<r>{}</r>", "<a>x</a>".repeat(1 << 20));
        let rows = [
            ("", "it is not XML"),
            ("Please log in", "it is not XML"),
            ("<html></html>", "it is a <html>, not a <r>"),
            ("<r><a>x", "it ends in the middle"),
            ("<r><skipped><b>", "it ends in the middle"),
            ("<r><a>x</b></r>", "expected `</a>`"),
            ("<r><a>x<b/></a></r>", "there is a <b> where text should be"),
            ("<r></r><r></r>", "there is more behind its end"),
            (deep.as_str(), "nest deeper than 32"),
            (long.as_str(), "a piece of it is longer than 1048576 bytes"),
            (large.as_str(), "it is longer than 3145728 bytes"),
        ];
        for (document, expected) in rows {
            let error = format!("{:#}", read(document).expect_err(expected));
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn no_entity_can_be_made_to_expand() {
        let bomb = "<!DOCTYPE r [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;&a;'>]><r><a>&b;</a></r>";
        assert!(format!("{:#}", read(bomb).expect_err("refused")).contains("it has a document type"));
        let file = "<!DOCTYPE r SYSTEM 'file:///etc/passwd'><r/>";
        assert!(format!("{:#}", read(file).expect_err("refused")).contains("it has a document type"));
        assert!(format!("{:#}", read("<r><a>&b;</a></r>").expect_err("undefined")).contains("&b; is not defined"));
        assert!(read("<r><skipped a='&b;'/></r>").is_err());
    }
}
