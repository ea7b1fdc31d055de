-- abandon.lua: give up an action that was never permitted.
-- KEYS  as in _action.lua
-- ARGV  as in _action.lua, then note
-- ANSWERS  ABANDONED replayed seq | REFUSED reason details... | UNFIT

local NOTE = ARGV[8]

local action, refusal = own_action()
if not action then return refusal end
local state = action.state
if state == 'ABANDONED' then return answer('ABANDONED', '1', action.settle_seq) end
if state == 'PERMITTED' then return refuse('ALREADY_PERMITTED', action) end
if settled(state) then return refuse('ALREADY_SETTLED', action, { state = state }) end

local number = append(JOURNAL, 'ABANDONED', 'op', OP, 'note', NOTE)
redis.call('HSET', ACTION, 'state', 'ABANDONED', 'settle_seq', number)
return answer('ABANDONED', '0', number)
