//! `postern audit verify`: an export against the public key, without a server and without a database.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use super::error::{ClientError, exit};
use super::options::read_text;
use super::output::Output;
use crate::domain::chain::lines::{Ending, FORMAT, Line};
use crate::domain::chain::verify::{Report, Verifier};
use crate::domain::chain::{Signature, Signed};
use crate::keys::signing::VerifyingKey;

/// An export and what it is held against.
#[derive(Debug, Args)]
pub(in super::super) struct Arguments {
    /// The export: what `postern audit export` wrote; `-` for standard input.
    file: PathBuf,
    /// The public key: what `postern audit key` printed.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Checkpoints that were kept outside of the database: lines of Postern's log with the target `audit`, or of an
    /// older export. They show when the newest entries and checkpoints were removed together.
    #[arg(long, value_name = "FILE")]
    checkpoints: Option<PathBuf>,
}

impl Arguments {
    /// Verifies, and tells what came of it.
    pub(super) fn run(self, out: &Output) -> Result<(), ClientError> {
        let key = VerifyingKey::from_pem(read_text(&self.key, "--key")?.expose())
            .map_err(|error| ClientError::usage(format!("--key {}: {error}", self.key.display())))?;
        let copies = self.checkpoints.as_deref().map(copies).transpose()?.unwrap_or_default();
        let check = |bytes: &[u8], signature: &Signature| key.verifies(bytes, signature);
        let report = Reading::new(&self.file, Verifier::new(&check), &copies).run()?;
        if out.is_for_people() {
            out.text(told(&report).as_bytes())?;
        } else {
            out.json(&serde_json::to_value(&report).unwrap_or_default())?;
        }
        if report.is_sound() {
            return Ok(());
        }
        let breaks = report.findings.len() as u64 + report.more_findings;
        let noun = if breaks == 1 { "place" } else { "places" };
        let sentence = format!("the audit log is not what was recorded: {breaks} {noun}");
        Err(ClientError::new(exit::DIFFERENT, sentence))
    }
}

/// What people read.
fn told(report: &Report) -> String {
    let mut lines: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    if report.more_findings > 0 {
        lines.push(format!("and {} more", report.more_findings));
    }
    lines.push(format!("{} entries in {} chains, {} checkpoints", report.entries, report.chains, report.statements));
    if let Some(at) = report.signed_until {
        lines.push(format!("signed until {at}; {} entries are newer", report.not_yet_signed));
    }
    if report.before_the_chain > 0 {
        lines.push(format!("{} entries are from before the chain", report.before_the_chain));
    }
    if report.deleted > 0 {
        lines.push(format!("{} entries were deleted at their age, as signed", report.deleted));
    }
    if report.is_sound() {
        lines.push("the audit log is sound".to_owned());
    }
    lines.join("\n") + "\n"
}

/// A file of exported lines on its way through a verifier.
struct Reading<'a> {
    name: String,
    file: &'a Path,
    verifier: Verifier<'a>,
    copies: &'a [Signed],
    seen: Ending,
}

impl<'a> Reading<'a> {
    fn new(file: &'a Path, verifier: Verifier<'a>, copies: &'a [Signed]) -> Self {
        Self { name: file.display().to_string(), file, verifier, copies, seen: Ending::default() }
    }

    fn run(mut self) -> Result<Report, ClientError> {
        let mut lines = open(self.file)?.lines().enumerate();
        let Some(Line::Export(beginning)) = self.line(lines.next())? else {
            return Err(self.wrong(1, "this is no export of an audit log"));
        };
        if beginning.format != FORMAT {
            return Err(
                self.wrong(1, &format!("the export has format {}, this program knows {FORMAT}", beginning.format))
            );
        }
        if !beginning.filter.is_empty() {
            return Err(self.wrong(1, "the export was filtered; only one without filters can be verified"));
        }
        let mut end = None;
        for line in lines.by_ref() {
            let at = line.0 + 1;
            match self.line(Some(line))? {
                _ if end.is_some() => return Err(self.wrong(at, "there is something behind the end")),
                Some(Line::Statement(signed)) if self.seen.entries == 0 => {
                    self.seen.statements += 1;
                    self.verifier.statement(&signed);
                }
                Some(Line::Statement(_)) => return Err(self.wrong(at, "a checkpoint stands among the entries")),
                Some(Line::Entry(entry)) => {
                    self.believe_copies();
                    self.seen.entries += 1;
                    self.verifier.entry(&entry);
                }
                Some(Line::End(ending)) => end = Some(ending),
                Some(Line::Export(_)) | None => return Err(self.wrong(at, "an export begins in the middle")),
            }
        }
        self.believe_copies();
        match end {
            None => Err(self.different("the file breaks off: its last line must be `end`")),
            Some(end) if end != self.seen => Err(self.different(&format!(
                "the file should hold {} checkpoints and {} entries, and holds {} and {}",
                end.statements, end.entries, self.seen.statements, self.seen.entries
            ))),
            Some(_) => Ok(self.verifier.finish()),
        }
    }

    /// After the last statement and before the first entry.
    fn believe_copies(&mut self) {
        for signed in std::mem::take(&mut self.copies) {
            self.verifier.copy(signed);
        }
    }

    fn line(&self, line: Option<(usize, std::io::Result<String>)>) -> Result<Option<Line>, ClientError> {
        let Some((at, text)) = line else { return Ok(None) };
        let text = text.map_err(|error| self.wrong(at + 1, &error.to_string()))?;
        let line = serde_json::from_str(&text).map_err(|error| self.different_at(at + 1, &error.to_string()))?;
        Ok(Some(line))
    }

    fn wrong(&self, line: usize, what: &str) -> ClientError {
        ClientError::usage(format!("{} line {line}: {what}", self.name))
    }

    fn different_at(&self, line: usize, what: &str) -> ClientError {
        self.different(&format!("line {line} is no line of an export: {what}"))
    }

    fn different(&self, what: &str) -> ClientError {
        ClientError::new(exit::DIFFERENT, format!("{}: {what}", self.name))
    }
}

fn open(file: &Path) -> Result<Box<dyn std::io::BufRead>, ClientError> {
    if file.as_os_str() == "-" {
        return Ok(Box::new(std::io::stdin().lock()));
    }
    let opened = File::open(file).map_err(|error| ClientError::usage(format!("{}: {error}", file.display())))?;
    Ok(Box::new(BufReader::new(opened)))
}

/// The checkpoints that stand somewhere in a file: in the field `statement` of a log line or of an export's line.
fn copies(file: &Path) -> Result<Vec<Signed>, ClientError> {
    let text = read_text(file, "--checkpoints")?;
    let found: Vec<Signed> = text.expose().lines().filter_map(copy).collect();
    if found.is_empty() {
        return Err(ClientError::usage(format!("--checkpoints {}: there is no checkpoint in it", file.display())));
    }
    Ok(found)
}

fn copy(line: &str) -> Option<Signed> {
    let line: Value = serde_json::from_str(line.get(line.find('{')?..)?).ok()?;
    match line.get("statement")? {
        Value::String(text) => serde_json::from_str(text).ok(),
        signed => serde_json::from_value(signed.clone()).ok(),
    }
}
