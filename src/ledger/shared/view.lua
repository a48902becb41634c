-- Reads the record of an account for operators and changes nothing. KEYS[1] is the record; the result is JSON (`view.rs`
-- has its shape). All times are spans in milliseconds.

local function field(section, name)
  return string.match(redis.call('INFO', section), '\n' .. name .. ':([^\r\n]*)') or ''
end

local packed = redis.call('GET', KEYS[1])
if not packed then return cjson.encode({ status = 'none' }) end
local record = cmsgpack.unpack(packed)
-- As in `exchange.lua`: data from before a restart or a failover is not used.
local life = field('server', 'run_id') .. '/' .. field('replication', 'master_replid')
if record.life ~= life then return cjson.encode({ status = 'other-life' }) end

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function waiting(demand)
  local routes = {}
  for route, of in pairs(demand) do
    for caller, wish in pairs(of.callers) do
      if wish.waiting > 0 then
        routes[route] = routes[route] or {}
        routes[route][caller] = wish.waiting
      end
    end
  end
  return routes
end

-- When the last use of a slot ends, of a member that has left.
local function last_end(ends)
  local last = 0
  for _, one in ipairs(ends) do last = math.max(last, one[1]) end
  return last
end

local members = {}
for id, member in pairs(record.members) do
  local limits = {}
  for name, entry in pairs(member.limits) do
    limits[name] = { held = entry.held, sealed = entry.sealed, idle = entry.idle, window = entry.window,
      left = entry.left and last_end(entry.left) }
  end
  members[id] = { gateway = member.gateway, gone = member.gone or false, silent = member.silent,
    heard = math.max(0, now - (member.at or now)), limits = limits, waiting = waiting(member.demand) }
end

local shut = {}
for name, limit in pairs(record.limits) do
  if limit.shut > 0 then shut[name] = limit.shut end
end

return cjson.encode({ status = 'ok', epoch = record.epoch, age = record.age, gone_after = record.gone_after,
  members = members, shut = shut, locks = record.locks })
