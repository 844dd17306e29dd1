use super::*;

#[test]
fn a_key_is_bm_and_64_hex_digits_and_never_printed() {
    let key = ApiKey::from_random([0xab; 32]);
    assert_eq!(key.expose(), format!("bm_{}", "ab".repeat(32)));
    assert!(!format!("{key:?}").contains("abab"));
    assert!(key.expose().parse::<ApiKey>().is_ok());
    for bad in [
        "",
        "bm_",
        "bm_12",
        &format!("xx_{}", "a".repeat(64)),
        &format!("bm_{}", "G".repeat(64)),
    ] {
        assert!(bad.parse::<ApiKey>().is_err(), "{bad}");
    }
}

#[test]
fn only_the_hash_of_a_key_is_kept() {
    // printf bm_$(printf 00%.0s $(seq 32)) | sha256sum
    let hash = ApiKey::from_random([0; 32]).hash();
    assert_eq!(hash.as_str().len(), 64);
    assert_ne!(hash, ApiKey::from_random([1; 32]).hash());
    assert_eq!(
        hash,
        format!("bm_{}", "0".repeat(64))
            .parse::<ApiKey>()
            .unwrap()
            .hash()
    );
}

#[test]
fn an_agent_takes_work_while_it_is_connected_online_and_has_a_free_slot() {
    let at = Timestamp::from_millis(1);
    let mut agent = Agent::new("a".parse().unwrap(), at);
    assert_eq!(agent.connection_for_dispatch(), None);
    agent.connection = Some(Binding::new("c".parse().unwrap(), at, None));
    assert!(agent.connection_for_dispatch().is_some());
    let doubted_at = Some(Timestamp::from_millis(2));
    let (in_doubt, hears) = (
        Binding {
            doubted_at,
            ..agent.connection.clone().unwrap()
        },
        Binding {
            doubted_at,
            echoed_at: doubted_at,
            ..agent.connection.clone().unwrap()
        },
    );
    agent.connection = Some(in_doubt);
    assert_eq!(agent.connection_for_dispatch(), None);
    agent.connection = Some(hears);
    assert!(agent.connection_for_dispatch().is_some());
    agent.availability = Availability::Draining;
    assert_eq!(agent.connection_for_dispatch(), None);
    agent.availability = Availability::Online;
    agent.held = (0..5).map(|n| n.to_string()).collect();
    assert_eq!(agent.connection_for_dispatch(), None);
}

#[test]
fn a_project_from_before_there_was_a_choice_is_read() {
    let stored = serde_json::json!({
        "channelId": "C1", "projectId": "web", "agentId": "a", "localPath": "/srv/web",
        "model": "default", "maxBudget": 5.0, "botName": "Bematic", "createdAt": 1,
    });
    let project: Project = serde_json::from_value(stored).unwrap();
    assert_eq!(project.route, Route::One("a".parse().unwrap()));
    {
        let several = Project {
            route: "a,b".parse().unwrap(),
            ..project
        };
        let stored: serde_dynamo::Item = serde_dynamo::to_item(&several).unwrap();
        assert_eq!(
            serde_dynamo::from_item::<_, Project>(stored).unwrap(),
            several
        );
    }
}

#[test]
fn a_key_is_named_by_a_prefix_that_fits_no_other() {
    let at = Timestamp::from_millis(1);
    let stored = |digits: &str| StoredKey {
        hash: format!("{digits:0<64}").try_into().unwrap(),
        created_at: at,
        valid_until: None,
    };
    let keys = ["abcd1111", "abcd2222", "ffff0000"].map(stored);
    let found = |prefix: &str| {
        let prefix: KeyPrefix = prefix.parse().unwrap();
        let found = prefix.find_in(&keys).map(|key| key.id().to_string());
        found.map_err(|error| error.to_string())
    };
    assert_eq!(found("abcd1").unwrap(), "abcd1111");
    assert_eq!(found("FFFF").unwrap(), "ffff0000");
    assert_eq!(
        found("abcd").unwrap_err(),
        "several keys begin with abcd: abcd1111, abcd2222; give more digits"
    );
    assert_eq!(
        found("1234").unwrap_err(),
        "no key begins with 1234; the agent's keys are abcd1111, abcd2222, ffff0000"
    );
    let prefix: KeyPrefix = "abcd".parse().unwrap();
    assert_eq!(prefix.find_in(&[]), Err(NoSuchKey::NoKeys));
    for bad in ["", "abc", "abcd12345", "wxyz", "abc "] {
        assert!(bad.parse::<KeyPrefix>().is_err(), "{bad}");
    }
}

#[test]
fn an_agent_of_an_earlier_version_has_no_keys_that_were_used_or_revoked() {
    let agent = Agent::new("a".parse().unwrap(), Timestamp::from_millis(1));
    let mut stored = serde_json::to_value(&agent).unwrap();
    let fields = stored.as_object_mut().unwrap();
    for map in ["keyUses", "revokedKeys"] {
        assert_eq!(fields.remove(map), Some(serde_json::json!({})));
    }
    assert_eq!(serde_json::from_value::<Agent>(stored).unwrap(), agent);
}

#[test]
fn a_revocation_cuts_an_agent_off_that_had_no_connection_since() {
    let at = Timestamp::from_millis;
    let mut agent = Agent::new("a".parse().unwrap(), at(1));
    assert_eq!(agent.cut_off_at(), None);
    let key = ApiKey::from_random([1; 32]).hash().key_id();
    agent.revoked_keys.insert(key, at(10));
    for (seen, cut_off_at) in [
        (None, Some(at(10))),
        (Some(10), Some(at(10))),
        (Some(11), None),
    ] {
        agent.last_seen = seen.map(at);
        assert_eq!(agent.cut_off_at(), cut_off_at, "{seen:?}");
    }
    // Another of its keys was revoked.
    agent.last_seen = Some(at(5));
    agent.connection = Some(Binding::new("c".parse().unwrap(), at(5), None));
    assert_eq!(agent.cut_off_at(), None);
}
