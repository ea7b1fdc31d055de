-- What issue and delegate share: asking whether what is to be given out is frozen.

-- Why a fence refuses these scopes to a run with these marks, and the details; nil while none does. What is frozen is
-- everything, or a scope all of whose actions are. A pattern covers another as it matches a name.
local function frozen(anchors_key, fences_key, marks, scopes)
  local anchors = {}
  for _, scope in ipairs(scopes) do add_action_anchors(anchors, scope[1]) end
  return fence_over(anchors_key, fences_key, marks, anchors, function(fence)
    if not blocks(fence) or not names_all(fence, marks) then return false end
    if fence.action == '' then return true end
    for _, scope in ipairs(scopes) do
      if action_matches(fence.action, scope[1]) then return true end
    end
    return false
  end)
end
