//! A server that runs the real script, in the Lua version of Redis, and can lose its data.

use std::{cell::RefCell, rc::Rc};

use mlua::{Function, Lua, Table, Value, Variadic};
use serde_json::{Map, Number};

/// cmsgpack, but quick: a packed table is the number of a copy.
const PACK: &str = "
    local packed = {}
    local function copy(value)
      if type(value) ~= 'table' then return value end
      local copied = {}
      for name, member in pairs(value) do copied[name] = copy(member) end
      return copied
    end
    cmsgpack = {
      pack = function(value) packed[#packed + 1] = copy(value) return tostring(#packed) end,
      unpack = function(number) return copy(packed[tonumber(number)]) end,
    }";

/// What the script sees and changes.
#[derive(Debug, Clone, Default)]
pub(super) struct Data {
    pub(super) run_id: u64,
    pub(super) replid: u64,
    pub(super) record: Option<String>,
    /// The server's clock in milliseconds, which may be anything.
    pub(super) time: u64,
    pub(super) commands: u64,
    pub(super) published: Vec<String>,
}

pub(super) struct Server {
    lua: Lua,
    script: Function,
    pub(super) data: Rc<RefCell<Data>>,
}

impl Server {
    pub(super) fn new(script: &str) -> Self {
        let lua = Lua::new();
        let data = Rc::new(RefCell::new(Data::default()));
        let seen = Rc::clone(&data);
        let call = move |lua: &Lua, arguments: Variadic<String>| command(lua, &mut seen.borrow_mut(), &arguments);
        let globals = lua.globals();
        let table = |members: Vec<(&str, Function)>| {
            let table = lua.create_table().expect("memory");
            members.into_iter().for_each(|(name, function)| table.set(name, function).expect("memory"));
            table
        };
        let encode = || lua.create_function(|_, value: Value| Ok(to_json(&value).to_string())).expect("memory");
        let decode = || {
            let parse = |lua: &Lua, text: String| from_json(lua, &serde_json::from_str(&text).expect("JSON"));
            lua.create_function(parse).expect("memory")
        };
        globals.set("redis", table(vec![("call", lua.create_function(call).expect("memory"))])).expect("memory");
        globals.set("cjson", table(vec![("encode", encode()), ("decode", decode())])).expect("memory");
        lua.load(PACK).exec().expect("a valid script");
        let script = lua.load(script).set_name("exchange.lua").into_function().expect("a valid script");
        Self { lua, script, data }
    }

    /// Runs the script once.
    pub(super) fn run(&self, request: &str) -> String {
        let lists = [("KEYS", vec!["record"]), ("ARGV", vec![request, "channel"])];
        for (name, values) in lists {
            let list = self.lua.create_sequence_from(values).expect("memory");
            self.lua.globals().set(name, list).expect("memory");
        }
        self.data.borrow_mut().commands += 1;
        self.script.call(()).unwrap_or_else(|error| panic!("{error}\n{request}\n{:?}", self.data.borrow().record))
    }
}

fn command(lua: &Lua, data: &mut Data, arguments: &[String]) -> mlua::Result<Value> {
    let text = |text: String| Ok(Value::String(lua.create_string(text)?));
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["INFO", "server"] => text(format!("# Server\r\nrun_id:{}\r\n", data.run_id)),
        ["INFO", "replication"] => text(format!("# Replication\r\nrole:master\r\nmaster_replid:{}\r\n", data.replid)),
        ["INFO", "stats"] => text(format!("# Stats\r\ntotal_commands_processed:{}\r\n", data.commands)),
        // Redis answers a missing key with false.
        ["GET", _] => data.record.clone().map_or(Ok(Value::Boolean(false)), text),
        ["SET", _, value] => {
            data.record = Some((*value).to_owned());
            Ok(Value::Nil)
        }
        ["PUBLISH", _, message] => {
            data.published.push((*message).to_owned());
            Ok(Value::Integer(0))
        }
        ["TIME"] => {
            let parts = [data.time / 1000, data.time % 1000 * 1000];
            lua.create_sequence_from(parts.map(|part| part.to_string())).map(Value::Table)
        }
        other => panic!("the script calls {other:?}"),
    }
}

/// As cjson writes it: an empty table is an object.
fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Nil => serde_json::Value::Null,
        Value::Boolean(value) => (*value).into(),
        Value::Integer(value) => (*value).into(),
        Value::Number(value) => {
            assert!(value.is_finite(), "cjson refuses {value}");
            if value.fract() == 0.0 {
                (*value as i64).into()
            } else {
                Number::from_f64(*value).map_or(serde_json::Value::Null, Into::into)
            }
        }
        Value::String(value) => value.to_string_lossy().into(),
        Value::Table(table) if table.raw_len() > 0 => {
            let items = table.sequence_values::<Value>();
            items.map(|item| to_json(&item.expect("a value"))).collect()
        }
        Value::Table(table) => object(table).into(),
        other => panic!("cjson cannot write {other:?}"),
    }
}

fn object(table: &Table) -> Map<String, serde_json::Value> {
    let pairs = table.pairs::<String, Value>().map(|pair| pair.expect("a name"));
    pairs.map(|(name, value)| (name, to_json(&value))).collect()
}

fn from_json(lua: &Lua, value: &serde_json::Value) -> mlua::Result<Value> {
    Ok(match value {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(value) => Value::Boolean(*value),
        serde_json::Value::Number(value) => Value::Number(value.as_f64().unwrap_or_default()),
        serde_json::Value::String(value) => Value::String(lua.create_string(value)?),
        serde_json::Value::Array(items) => {
            let table = lua.create_table_with_capacity(items.len(), 0)?;
            for item in items {
                table.raw_push(from_json(lua, item)?)?;
            }
            Value::Table(table)
        }
        serde_json::Value::Object(members) => {
            let table = lua.create_table_with_capacity(0, members.len())?;
            for (name, item) in members {
                table.raw_set(name.as_str(), from_json(lua, item)?)?;
            }
            Value::Table(table)
        }
    })
}
