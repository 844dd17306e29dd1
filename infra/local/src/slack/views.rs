//! `views.*`: modals, shown on the page.

use serde_json::{Value, json};

use super::args::Args;
use super::blocks;
use super::content;
use super::error::{Code, Refusal};
use super::limits;
use super::state::Slack;

/// Opens a modal for whoever the trigger came from.
pub(super) fn open(slack: &Slack, args: &Args) -> Result<Value, Refusal> {
    let clock = &slack.config.clock;
    let trigger = args.required("trigger_id")?;
    let view = args.json("view", Code::InvalidArguments)?;
    let mut view = view.ok_or_else(|| Refusal::missing("view"))?;
    check(&view)?;
    let workspace = &mut slack.workspace();
    let ticket = workspace.tickets.trigger(trigger, clock.secs())?;
    content::name_blocks(&mut view["blocks"], workspace, clock.micros());
    let view = finish(
        view,
        &workspace.id("V", clock.micros()),
        &workspace.app.bot.app_id,
    );
    workspace.open_view(&ticket.user, &view);
    Ok(json!({ "view": view }))
}

fn check(view: &Value) -> Result<(), Refusal> {
    if view["type"] != "modal" {
        return Err(Refusal::invalid(
            "must be modal [json-pointer:/view/type]".into(),
        ));
    }
    let title = view["title"]["text"].as_str().map_or(0, blocks::length);
    if !(1..=limits::TITLE).contains(&title) {
        let most = limits::TITLE;
        let problem = format!("must be 1 to {most} characters [json-pointer:/view/title/text]");
        return Err(Refusal::invalid(problem));
    }
    blocks::check_up_to(&view["blocks"], limits::VIEW_BLOCKS)
}

fn finish(mut view: Value, id: &str, app_id: &str) -> Value {
    view["id"] = json!(id);
    view["app_id"] = json!(app_id);
    view["hash"] = json!(id);
    view["state"] = json!({ "values": {} });
    view
}
