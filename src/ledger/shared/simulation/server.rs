//! A server that runs the real script, in the Lua version of Redis.
//!
//! Requests, replies and records stay Lua tables: writing and reading them as text would take most of the time.

use mlua::{Function, Lua, LuaSerdeExt, Table, Value, serde::SerializeOptions};
use serde::de::DeserializeOwned;

use super::super::message::{Message, Reply, Request};

/// What a server offers to the script, and a function that runs it once.
const HOST: &str = "
    local function copy(value)
      if type(value) ~= 'table' then return value end
      local copied = {}
      for name, member in pairs(value) do copied[name] = copy(member) end
      return copied
    end
    local function same(value) return value end
    -- A stored record never changes: the script gets a copy, and stores another table.
    cmsgpack = { pack = same, unpack = copy }
    cjson = { decode = same, encode = same }
    KEYS = { 'record' }

    local node, record, published
    local commands = {
      INFO = function(section) return node[section] end,
      TIME = function() return node.time end,
      -- Redis answers a missing key with false.
      GET = function() return record or false end,
      SET = function(_, value) record = value end,
      PUBLISH = function(_, message) published[#published + 1] = message end,
    }
    redis = { call = function(command, ...) return commands[command](...) end }

    return function(script, run_id, replid, role, executed, now, before, request)
      node = {
        server = '# Server\\r\\nrun_id:' .. run_id .. '\\r\\n',
        replication = '# Replication\\r\\nrole:' .. role .. '\\r\\nmaster_replid:' .. replid .. '\\r\\n',
        stats = '# Stats\\r\\ntotal_commands_processed:' .. executed .. '\\r\\n',
        time = { tostring(math.floor(now / 1000)), tostring(now % 1000 * 1000) },
      }
      record, published = before, {}
      ARGV = { request, 'channel' }
      local reply = script()
      return reply, record, published
    end";

/// What a server stores, and what it says about itself.
#[derive(Debug, Clone, Default)]
pub(in crate::ledger::shared) struct Data {
    pub(super) run_id: u64,
    pub(super) replid: u64,
    pub(super) record: Option<Table>,
    pub(super) commands: u64,
}

/// Runs the script for any number of nodes.
pub(in crate::ledger::shared) struct Server {
    lua: Lua,
    script: Function,
    host: Function,
}

impl Server {
    pub(in crate::ledger::shared) fn new(script: &str) -> Self {
        let lua = Lua::new();
        let host = lua.load(HOST).eval().expect("a valid script");
        let script = lua.load(script).set_name("exchange.lua").into_function().expect("a valid script");
        Self { lua, script, host }
    }

    /// Runs the script once on the server with this data. `now` is its clock in milliseconds, which may be anything.
    pub(in crate::ledger::shared) fn run(
        &self,
        data: &mut Data,
        role: &str,
        now: u64,
        request: &Request,
    ) -> (Reply, Vec<Message>) {
        data.commands += 1;
        let options = SerializeOptions::new().set_array_metatable(false);
        let table = self.lua.to_value_with(request, options).expect("a table");
        let record = data.record.take();
        let arguments = (&self.script, data.run_id, data.replid, role, data.commands, now, record, table);
        let result = self.host.call::<(Value, Option<Table>, Vec<Value>)>(arguments);
        let (reply, record, published) = result.unwrap_or_else(|error| panic!("{error}\n{request:?}"));
        data.record = record;
        (self.read(reply), published.into_iter().map(|message| self.read(message)).collect())
    }

    fn read<T: DeserializeOwned>(&self, value: Value) -> T {
        self.lua.from_value(value).expect("all fields have their types")
    }
}
