//! Updates.

use serde_json::{Value, json};

use super::{Fault, Names, Operand, Path, as_number, at, from_number, parser::Parser};
use crate::dynamo::size::{Item, typed};

/// What an update expression asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::dynamo) struct Update {
    set: Vec<(Path, Operand)>,
    remove: Vec<Path>,
    add: Vec<(Path, Operand)>,
    delete: Vec<(Path, Operand)>,
}

impl Update {
    pub(in crate::dynamo) fn parse(text: &str, names: Names<'_>) -> Result<Self, Fault> {
        let mut parser = Parser::new(text, names)?;
        let mut update = Self::default();
        while !parser.is_over() {
            if parser.keyword("SET") {
                each(&mut parser, |parser| {
                    let path = parser.path()?;
                    if !parser.takes("=") {
                        return Err(parser.fault());
                    }
                    update.set.push((path, parser.sum()?));
                    Ok(())
                })?;
            } else if parser.keyword("REMOVE") {
                each(&mut parser, |parser| {
                    update.remove.push(parser.path()?);
                    Ok(())
                })?;
            } else if parser.keyword("ADD") {
                each(&mut parser, |parser| {
                    update.add.push((parser.path()?, parser.operand()?));
                    Ok(())
                })?;
            } else if parser.keyword("DELETE") {
                each(&mut parser, |parser| {
                    update.delete.push((parser.path()?, parser.operand()?));
                    Ok(())
                })?;
            } else {
                return Err(parser.fault());
            }
        }
        Ok(update)
    }
}

fn each<'a>(
    parser: &mut Parser<'a>,
    mut action: impl FnMut(&mut Parser<'a>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    action(parser)?;
    while parser.takes(",") {
        action(parser)?;
    }
    Ok(())
}

/// The item, empty if there is none, after the update. Every value is taken from the item before.
pub(in crate::dynamo) fn changed(item: &Item, update: &Update) -> Result<Item, Fault> {
    let mut after = item.clone();
    for (path, operand) in &update.set {
        let value = operand.value(item);
        let value = value.ok_or_else(|| unknown(path))?;
        put(&mut after, path, value)?;
    }
    for path in &update.remove {
        if at(&after, path).is_some() {
            remove(&mut after, path);
        }
    }
    for (path, operand) in &update.add {
        let more = operand.value(item).ok_or_else(|| unknown(path))?;
        let sum = match at(item, path) {
            None => more,
            Some(old) => added(old, &more).ok_or_else(|| unknown(path))?,
        };
        put(&mut after, path, sum)?;
    }
    for (path, operand) in &update.delete {
        let less = operand.value(item).ok_or_else(|| unknown(path))?;
        if let Some(old) = at(item, path) {
            match without(old, &less) {
                Some(rest) => put(&mut after, path, rest)?,
                // A set is never empty.
                None => remove(&mut after, path),
            }
        }
    }
    Ok(after)
}

fn unknown(path: &Path) -> Fault {
    Fault::new(format!("{} cannot be given that value", path.join(".")))
}

fn put(item: &mut Item, path: &[String], value: Value) -> Result<(), Fault> {
    let fault = || Fault::new(format!("{} is in no map of the item", path.join(".")));
    let (last, above) = path.split_last().ok_or_else(fault)?;
    let map = above.iter().try_fold(item, |map, name| {
        map.get_mut(name)?.get_mut("M")?.as_object_mut()
    });
    map.ok_or_else(fault)?.insert(last.clone(), value);
    Ok(())
}

fn remove(item: &mut Item, path: &[String]) {
    let Some((last, above)) = path.split_last() else {
        return;
    };
    let map = above.iter().try_fold(item, |map, name| {
        map.get_mut(name)?.get_mut("M")?.as_object_mut()
    });
    if let Some(map) = map {
        map.remove(last);
    }
}

fn added(old: &Value, more: &Value) -> Option<Value> {
    if let (Some(old), Some(more)) = (as_number(old), as_number(more)) {
        return Some(from_number(old + more));
    }
    let (kind, elements) = typed(old)?;
    let mut elements = elements.as_array()?.clone();
    for one in more.get(kind)?.as_array()? {
        if !elements.contains(one) {
            elements.push(one.clone());
        }
    }
    Some(json!({ kind: elements }))
}

fn without(old: &Value, less: &Value) -> Option<Value> {
    let (kind, elements) = typed(old)?;
    let less = less.get(kind)?.as_array()?;
    let rest = elements.as_array()?.iter();
    let rest: Vec<_> = rest.filter(|one| !less.contains(one)).cloned().collect();
    (!rest.is_empty()).then(|| json!({ kind: rest }))
}
