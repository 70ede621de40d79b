/* request_thinking.c - how a request says whether and how much the model shall reason. Each kind of
 * client has its own member for it, and most of them take several types of values; all are read
 * alike, in all APIs. See request_members.h. */
#include "app/server/request_members.h"

static void switch_thinking(ds4_request *rq, bool on)
{
    rq->chat.thinking = on;
    rq->thinking_said = true;
}

/* A word: an effort ("none" among them) or a switch. */
static ds4_status take_word(ds4_request *rq, const ds4_fields *f, const char *name, ds4_err *err)
{
    ds4_slice  word = { 0 };
    ds4_effort effort = rq->chat.effort;
    bool       thinking = true;

    DS4_TRY(ds4_fields_text(f, name, &word, &rq->refusal, err));
    if (word.n_bytes == 0) return DS4_OK;
    if (ds4_slice_is(word, "enabled") || ds4_slice_is(word, "adaptive") ||
        ds4_slice_is(word, "auto") || ds4_slice_is(word, "on")) {
        switch_thinking(rq, true);
        return DS4_OK;
    }
    if (!ds4_effort_from_name(word, &effort, &thinking)) {
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, f->where, name,
                          "must be none, minimal, low, medium, high, xhigh or max");
    }
    if (thinking || !rq->thinking_said) rq->chat.effort = effort;
    /* An effort beside an explicit switch only says how much. */
    if (!rq->thinking_said) switch_thinking(rq, thinking);
    return DS4_OK;
}

/* Tokens of reasoning: -1 for any number, 0 for none. */
static ds4_status take_budget(ds4_request *rq, const ds4_fields *f, const char *name, ds4_err *err)
{
    ds4_slice value;
    double    budget = -1;

    if (!ds4_fields_get(f, name, &value)) return DS4_OK;
    DS4_TRY(ds4_fields_number(f, name, -1, INT32_MAX, &budget, &rq->refusal, err));
    rq->thinking_budget = budget > 0 ? (uint32_t)budget : 0;
    if (budget >= 0 && budget < 1) switch_thinking(rq, false);
    return DS4_OK;
}

/* {"type", "enabled", "effort", "budget_tokens" | "max_tokens", "exclude"} */
static ds4_status take_object(ds4_request *rq, const ds4_fields *f, const char *name, ds4_err *err)
{
    ds4_fields inner;
    ds4_slice  type = { 0 }, value;
    bool       given, on = true;

    DS4_TRY(ds4_fields_object(f, name, &inner, &given, &rq->refusal, err));
    DS4_TRY(ds4_fields_text(&inner, "type", &type, &rq->refusal, err));
    if (ds4_slice_is(type, "enabled") || ds4_slice_is(type, "adaptive") ||
        ds4_slice_is(type, "auto")) {
        switch_thinking(rq, true);
    } else if (ds4_slice_is(type, "disabled")) {
        switch_thinking(rq, false);
    } else if (type.n_bytes > 0) {
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, inner.where, "type",
                          "must be enabled, adaptive or disabled");
    }
    if (ds4_fields_get(&inner, "enabled", &value)) {
        DS4_TRY(ds4_fields_bool(&inner, "enabled", &on, &rq->refusal, err));
        switch_thinking(rq, on);
    }
    DS4_TRY(take_word(rq, &inner, "effort", err));
    DS4_TRY(take_budget(rq, &inner, "budget_tokens", err));
    DS4_TRY(take_budget(rq, &inner, "max_tokens", err));
    return ds4_fields_bool(&inner, "exclude", &rq->hide_reasoning, &rq->refusal, err);
}

static ds4_status take_value(ds4_request *rq, const ds4_fields *f, const char *name, ds4_err *err)
{
    ds4_slice value;
    bool      on = true;

    if (!ds4_fields_get(f, name, &value)) return DS4_OK;
    if (ds4_pyjson_kind(value) == DS4_JSON_STRING) return take_word(rq, f, name, err);
    if (ds4_pyjson_kind(value) == DS4_JSON_OBJECT) return take_object(rq, f, name, err);
    DS4_TRY(ds4_fields_bool(f, name, &on, &rq->refusal, err));
    switch_thinking(rq, on);
    return DS4_OK;
}

static ds4_status take_members(ds4_request *rq, const ds4_fields *f, ds4_err *err)
{
    static const char *const switches[] = { "thinking",         "think",     "enable_thinking",
                                            "enable_reasoning", "reasoning", NULL };
    static const char *const budgets[] = { "thinking_budget", "reasoning_budget",
                                           "thinking_token_budget", "max_thinking_tokens", NULL };

    for (size_t i = 0; switches[i]; i++) DS4_TRY(take_value(rq, f, switches[i], err));
    for (size_t i = 0; budgets[i]; i++) DS4_TRY(take_budget(rq, f, budgets[i], err));
    return DS4_OK;
}

ds4_status ds4_read_thinking(ds4_request *rq, const ds4_fields *f, ds4_err *err)
{
    static const char *const holders[] = { "chat_template_kwargs", "extra_body", NULL };
    ds4_fields               inner;
    bool                     given, shown = true;

    DS4_TRY(take_members(rq, f, err));
    for (size_t i = 0; holders[i]; i++) {
        DS4_TRY(ds4_fields_object(f, holders[i], &inner, &given, &rq->refusal, err));
        if (!given) continue;
        DS4_TRY(take_members(rq, &inner, err));
        DS4_TRY(take_word(rq, &inner, "reasoning_effort", err));
    }
    DS4_TRY(ds4_fields_object(f, "output_config", &inner, &given, &rq->refusal, err));
    if (given) DS4_TRY(take_word(rq, &inner, "effort", err));
    DS4_TRY(take_word(rq, f, "reasoning_effort", err));
    DS4_TRY(ds4_fields_bool(f, "include_reasoning", &shown, &rq->refusal, err));
    rq->hide_reasoning |= !shown;
    if (rq->thinking_said || rq->model.n_bytes == 0) return DS4_OK;
    if (ds4_slice_is(rq->model, "deepseek-chat")) rq->chat.thinking = false;
    if (ds4_slice_is(rq->model, "deepseek-reasoner")) rq->chat.thinking = true;
    return DS4_OK;
}
