-- deny.lua: refuse an action that waits for a person, or take back an approval until the instant it is used.
-- KEYS  meta, awaiting, journal, action
-- ARGV  nonce, run id, op_id, actor, note
-- ANSWERS  DENIED replayed seq | REFUSED reason details... | UNFIT

local AWAITING, JOURNAL, ACTION = KEYS[2], KEYS[3], KEYS[4]
local RUN_ID, OP, ACTOR, NOTE = unpack(ARGV, 2, 5)

local action = read(ACTION)
if not action then return refused('ACTION_UNKNOWN', { run = RUN_ID, op = OP }) end
local state, said = action.state, action.said_seq ~= '0'
if state == 'DENIED' and said then return answer('DENIED', '1', action.said_seq) end
if state == 'PERMITTED' then return refused('ALREADY_PERMITTED', { run = RUN_ID, op = OP }) end
if state ~= 'AWAITING_APPROVAL' and not (state == 'PREPARED' and said) then return not_awaiting(action) end

local number = append(JOURNAL, 'DENIED', 'op', OP, 'actor', ACTOR, 'note', NOTE)
redis.call('HSET', ACTION, 'state', 'DENIED', 'said_actor', ACTOR, 'said_note', NOTE, 'said_seq', number,
  'said_until', '0', 'said_ttl_ms', '0', 'said_amendment', '', 'said_digest', '')
redis.call('ZREM', AWAITING, RUN_ID .. '/' .. OP)
return answer('DENIED', '0', number)
