-- What all verbs about duties share, and those that make one: a duty, as core/duty.py has it, and the lists by which the
-- open ones are found. Each script fills in, by kind, the keys of this action's duties and those of the lists.

local DUTIES, LISTS = {}, {}

-- Take a duty off the list of the open ones, or put it there: an undo of its run by the number of its permit, the others
-- by when they are due, if they are. What is called off if its run is stopped waits among the jobs (_jobs.lua).
local function unlist(kind)
  redis.call('ZREM', LISTS[kind], kind == 'UNDO' and OP or RUN_ID .. '/' .. OP)
end

local function list(kind, duty, goes)
  if duty.due == NEVER then
    unlist(kind)
  elseif kind ~= 'UNDO' then
    redis.call('ZADD', LISTS[kind], duty.due, RUN_ID .. '/' .. OP)
  else
    redis.call('ZADD', LISTS.UNDO, duty.fence, OP)
    redis.call('PEXPIREAT', LISTS.UNDO, goes)
  end
end

-- When the records of this action's run go, and with them its duties. Of a script that broke half-way the action may
-- stay for ever; its duties do not.
local function records_go(action)
  return text(math.max(redis.call('PEXPIRETIME', ACTION), tonumber(action.undo_until)))
end

-- Write a duty whole; what is not given is as in a new one. The list goes first: should a later write fail, it names a
-- duty that is not there, and reading takes it off.
local function put_duty(kind, given, goes)
  local duty = {
    run = RUN_ID, op = OP, kind = kind, state = 'OPEN', epoch = EPOCH, attempts = '0', worker = '', lease = '',
    lease_until = '0', failed_lease = '', failed_seq = '0',
  }
  for name, value in pairs(given) do duty[name] = value end
  if duty.state == 'OPEN' then list(kind, duty, goes) else unlist(kind) end
  redis.call('HSET', DUTIES[kind], unpack(flatten(duty)))
  redis.call('PEXPIREAT', DUTIES[kind], goes)
end
