-- finish.lua: end a run that did its work, unless it was cancelled first.
-- KEYS  meta, run, journal
-- ARGV  nonce, run id, actor, note
-- ANSWERS  FINISHED replayed run... | REFUSED reason details... | UNFIT

local RUN, JOURNAL = KEYS[2], KEYS[3]
local RUN_ID, ACTOR, NOTE = unpack(ARGV, 2, 4)

local run = read(RUN)
if not run then return refused('RUN_UNKNOWN', { run = RUN_ID }) end
if run.state == 'CANCELLED' then return refused('REVOKED', end_details(RUN, RUN_ID)) end

if run.state == 'FINISHED' then return answer('FINISHED', '1', unpack(flatten(run))) end

local number = take_seq()
if run.marks == '' then -- it was archived
  write_late_entry(JOURNAL, run.keep_until, number, 'FINISHED', 'actor', ACTOR, 'note', NOTE)
else
  write_entry(JOURNAL, number, 'FINISHED', 'actor', ACTOR, 'note', NOTE)
end
local ending = {
  state = 'FINISHED', end_reason = 'RUN_FINISHED', end_actor = ACTOR, end_note = NOTE, end_time = text(NOW), end_seq = number,
  end_epoch = EPOCH,
}
redis.call('HSET', RUN, unpack(flatten(ending)))
for name, value in pairs(ending) do run[name] = value end
hint(RUN_ID)
return answer('FINISHED', '0', unpack(flatten(run)))
