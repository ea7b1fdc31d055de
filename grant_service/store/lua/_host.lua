-- What the scripts need to know of their host: its time and its epoch. A test puts its own text in place of this file.

-- The host's time in milliseconds since 1970. Read once per script: in Redis 7.0 it moves on while a script runs.
local function host_time_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- The epoch of the data, or nil on a host that may not decide. Redis takes a new replication id at every restart and
-- promotion, that is whenever facts may have been lost (and when its first replica joins): older grants end there.
local function host_epoch()
  local info = redis.call('INFO', 'replication')
  if not string.find(info, 'role:master', 1, true) then return nil end
  return string.match(info, 'master_replid:(%x+)')
end
