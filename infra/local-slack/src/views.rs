//! The Web API methods `views.*`: modals, which the page shows.

use serde_json::{Value, json};

use crate::args::Args;
use crate::blocks;
use crate::content;
use crate::error::{Code, Refusal};
use crate::limits;
use crate::state::Slack;

/// Opens a modal for the person whose action issued the trigger.
pub(crate) fn open(slack: &Slack, args: &Args) -> Result<Value, Refusal> {
    let now = slack.now();
    let trigger = args.required("trigger_id")?;
    let view = args.json("view", Code::InvalidArguments)?;
    let mut view = view.ok_or_else(|| Refusal::missing("view"))?;
    check(&view)?;
    let workspace = &mut slack.workspace();
    let ticket = workspace
        .tickets
        .trigger(trigger, slack.config.clock.secs())?;
    content::name_blocks(&mut view["blocks"], workspace, now);
    let view = finish(view, &workspace.id("V", now), &workspace.app.bot.app_id);
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
