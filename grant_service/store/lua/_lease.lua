-- What the verbs of a compensator share: a duty that somebody may hold.
-- ARGV  as in _about.lua, then which (UNDO | CALL_OFF | ASK, or CALL_OFF/1 and so on for the second job and those after
--       it), lease (names a claim); then the verb's own

local WHICH, LEASE = ARGV[4], ARGV[5]
local KIND = kind_of(WHICH)

-- Refuse, saying what it is about.
local function refuse_duty(reason, more)
  local details = { run = RUN_ID, op = OP, duty = KIND }
  for name, value in pairs(more or {}) do details[name] = value end
  return refused(reason, details)
end

-- The action and the duty, or nil and the refusal. One that is moot, and was left open by a script that broke off after it
-- had put the outcome on record, is closed.
local function find_duty()
  local action, duty = read(ACTION), read(DUTIES[WHICH])
  if not action or not duty then return nil, refuse_duty('DUTY_UNKNOWN') end
  if duty.state == 'OPEN' and is_moot(KIND, action.state) then
    end_duty(WHICH, 'state', 'MOOT')
    duty.state = 'MOOT'
  end
  return action, duty
end

-- Refuse whoever has let go of a duty, or lost it to somebody else.
local function lost(duty)
  if duty.lease ~= LEASE then
    return refuse_duty('LEASE_LOST', { worker = duty.worker ~= '' and duty.worker or nil })
  end
end

-- The action and a duty that nobody else has claimed since, or nil and the refusal.
local function held_duty()
  local action, duty = find_duty()
  local refusal = action and lost(duty)
  if refusal then return nil, refusal end
  return action, duty
end

local function not_open(duty)
  if duty.state ~= 'OPEN' then return refuse_duty('DUTY_OVER', { state = duty.state }) end
end
