/* refuse.c - errors in the shape of the API that was asked. */
#include "app/server/server.h"

#include <string.h>

ds4_api ds4_api_of(const char *path)
{
    if (strstr(path, "/messages")) return DS4_API_MESSAGES;
    if (strstr(path, "/responses")) return DS4_API_RESPONSES;
    if (strstr(path, "/chat/completions")) return DS4_API_CHAT;
    if (strstr(path, "/completions")) return DS4_API_COMPLETIONS;
    return DS4_API_OTHER;
}

const char *ds4_api_name(ds4_api api)
{
    static const char *const names[] = { "chat", "completions", "messages", "responses", "other" };
    return names[api];
}

int ds4_http_status_of(ds4_status st)
{
    switch (st) {
    case DS4_OK: return 200;
    case DS4_E_ARG:
    case DS4_E_FORMAT:
    case DS4_E_UNSUPPORTED:
    case DS4_E_LIMIT: return 400;
    case DS4_E_CANCELLED: return 503;
    case DS4_E_NOMEM:
    case DS4_E_IO:
    case DS4_E_DEVICE: break;
    }
    return 500;
}

static const char *openai_type(int status)
{
    switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 429: return "rate_limit_error";
    default: return status >= 500 ? "server_error" : "invalid_request_error";
    }
}

static const char *anthropic_type(int status)
{
    switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 413: return "request_too_large";
    case 429: return "rate_limit_error";
    case 503:
    case 529: return "overloaded_error";
    default: return status >= 500 ? "api_error" : "invalid_request_error";
    }
}

static void add_message(ds4_api api, const ds4_problem *p, ds4_str *out)
{
    char text[256];

    if (!p->n_ctx) {
        ds4_pyjson_add_string(out, (ds4_slice){ p->message, strlen(p->message) });
        return;
    }
    if (api == DS4_API_MESSAGES) {
        snprintf(text, sizeof text, "prompt is too long: %u tokens > %u maximum", p->n_prompt,
                 p->n_ctx);
    } else {
        snprintf(text, sizeof text,
                 "This model's maximum context length is %u tokens. However, "
                 "your messages resulted in %u tokens.",
                 p->n_ctx, p->n_prompt);
    }
    ds4_pyjson_add_string(out, (ds4_slice){ text, strlen(text) });
}

void ds4_problem_json(ds4_api api, const ds4_problem *p, ds4_str *out)
{
    if (api == DS4_API_MESSAGES) {
        ds4_str_addf(out, "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":",
                     anthropic_type(p->status));
    } else {
        ds4_str_add_text(out, "{\"error\":{\"message\":");
    }
    add_message(api, p, out);
    if (api != DS4_API_MESSAGES) {
        ds4_str_addf(out, ",\"type\":\"%s\",\"param\":", openai_type(p->status));
        if (p->param && p->param[0]) {
            ds4_pyjson_add_string(out, (ds4_slice){ p->param, strlen(p->param) });
        } else {
            ds4_str_add_text(out, "null");
        }
        if (p->code) {
            ds4_str_addf(out, ",\"code\":\"%s\"", p->code);
        } else {
            ds4_str_add_text(out, ",\"code\":null");
        }
    }
    if (p->n_ctx) ds4_str_addf(out, ",\"n_prompt_tokens\":%u,\"n_ctx\":%u", p->n_prompt, p->n_ctx);
    ds4_str_add_char(out, '}');
    if (api == DS4_API_MESSAGES && p->id) ds4_str_addf(out, ",\"request_id\":\"%s\"", p->id);
    ds4_str_add_char(out, '}');
}

/* Would the same request be refused again, whenever it is sent? */
static bool is_final(int status)
{
    return status >= 400 && status < 500 && status != 408 && status != 409 && status != 429;
}

/* Add the fields that make clients stop trying, or come again later. The SDKs of OpenAI and Anthropic read
 * x-should-retry; RFC 9110 asks for a challenge beside 401 (15.5.2). */
static void add_advice(int status, ds4_http_answer *a)
{
    if (status == 401) ds4_http_add_header(a, "WWW-Authenticate", "Bearer");
    if (is_final(status)) ds4_http_add_header(a, "x-should-retry", "false");
    const bool passes = status == 429 || status == 503 || status == 529;
    if (passes && !strstr(ds4_str_text(&a->headers), "Retry-After:")) {
        ds4_http_add_header(a, "Retry-After", "5");
    }
}

void ds4_refuse_with(ds4_api api, const ds4_problem *p, ds4_http_answer *a)
{
    add_advice(p->status, a);
    snprintf(a->reason, sizeof a->reason, "%s", p->n_ctx ? "the prompt is too long" : p->message);
    a->status = p->status;
    a->type = NULL;
    a->read = NULL;
    ds4_str_clear(&a->body);
    ds4_problem_json(api, p, &a->body);
}
