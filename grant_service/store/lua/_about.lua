-- What the verbs of operators and compensators about one action share.
-- KEYS  meta, journal, action, those of _duties.lua; then the verb's own
-- ARGV  nonce, run id, op_id; then the verb's own

local JOURNAL, ACTION = KEYS[2], KEYS[3]
local RUN_ID, OP = ARGV[2], ARGV[3]
local REST = 4

local function unknown_action()
  return refused('ACTION_UNKNOWN', { run = RUN_ID, op = OP })
end
