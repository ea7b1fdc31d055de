-- Handing on part of a scope, as core/scope.py has it. A scope is as in _scope.lua.

local RANK = { READ_ONLY = 0, REVERSIBLE = 1, COMPENSABLE = 2, IRREVERSIBLE = 3 }
local MORE = { -- in the order in which they are asked
  'is for actions no scope of it covers', 'is for resources no scope of it covers', 'is for more uses than it has',
}

-- Say whether a pattern covers every resource that another pattern covers, in one walk over both. A `*` in the middle
-- covers a segment that is written out, or one `*` in the middle; only one at the end covers one at the end.
local function resource_covers(pattern, other)
  if pattern == '*' then return true end
  if other == '*' then return false end -- it covers the empty resource, which no other pattern does
  local at = 1
  for position = 1, #pattern do
    local letter = string.sub(pattern, position, position)
    if letter == '*' then
      if position == #pattern then return at <= #other end
      local stop = string.find(other, '[/:@,;?#&=]', at) or #other + 1
      if stop == at or (stop == #other + 1 and string.sub(other, -1) == '*') then return false end
      at = stop
    elseif string.sub(other, at, at) == letter then
      at = at + 1
    else
      return false
    end
  end
  return at == #other + 1
end

local function lower(one, other)
  if one == '' or other == '' then return one == '' and other or one end
  return RANK[one] <= RANK[other] and one or other
end

-- What of a scope may be handed on when another is asked for, or nil and the number of the rule that forbids it. A
-- pattern of actions covers another as it matches a name.
local function narrowed(wide, asked)
  if not action_matches(wide[1], asked[1]) then return nil, 1 end
  if not resource_covers(wide[2], asked[2]) then return nil, 2 end
  if wide[3] > 0 and asked[3] > wide[3] then return nil, 3 end
  return { asked[1], asked[2], asked[3] > 0 and asked[3] or wide[3], lower(wide[4], asked[4]), lower(wide[5], asked[5]) }
end

-- For each scope that is asked for what may be handed on of the first that covers it, and the places (from 0) of
-- those; or nil and the field and rule of what is too wide. What an earlier scope above would have had a person asked
-- about stays so: an action goes by the first scope that allows it.
local function narrowed_all(above, asked)
  local scopes, places = {}, {}
  for number, one in ipairs(asked) do
    local closest, demands = 1, one[5]
    for place, wide in ipairs(above) do
      local narrow, rule = narrowed(wide, { one[1], one[2], one[3], one[4], demands })
      if narrow then
        scopes[number], places[number] = narrow, text(place - 1)
        break
      end
      closest = math.max(closest, rule)
      if action_matches(wide[1], one[1]) or action_matches(one[1], wide[1]) then demands = lower(demands, wide[5]) end
    end
    if not scopes[number] then return nil, { field = 'scopes[' .. text(number - 1) .. ']', rule = MORE[closest] } end
  end
  return scopes, table.concat(places, ',')
end

-- Scopes in the one way all stores keep them.
local function scopes_text(scopes)
  local rows = {}
  for i, scope in ipairs(scopes) do
    local words = {}
    for j, word in ipairs(scope) do
      words[j] = j == 3 and text(word) or '"' .. string.gsub(word, '["\\]', '\\%0') .. '"'
    end
    rows[i] = '[' .. table.concat(words, ',') .. ']'
  end
  return '[' .. table.concat(rows, ',') .. ']'
end
