/* members_test.c - members that mean the same in all APIs, under all the names that servers have for
 * them: the form of the answer, no reasoning, no limit. What cannot be done is refused by name. */
#include "server/request_reading.h"

#include <math.h>

static const struct {
    ds4_api     api;
    const char *rest;
} apis[] = {
    { DS4_API_CHAT, "'messages':[{'role':'user','content':'Q'}]" },
    { DS4_API_MESSAGES, "'messages':[{'role':'user','content':'Q'}]" },
    { DS4_API_RESPONSES, "'input':'Q'" },
    { DS4_API_COMPLETIONS, "'prompt':'Q'" },
};
enum { N_APIS = 4 };

static char body[2000];

static const char *with(uint32_t i_api, const char *member)
{
    snprintf(body, sizeof body, "{%s,%s}", member, apis[i_api].rest);
    return body;
}

#define SCHEMA "{'type':'object','properties':{'ok':{'type':'boolean'}}}"

static void test_forms_of_answers(void **state)
{
    static const struct {
        const char   *member, *name;
        ds4_form_kind kind;
    } forms[] = {
        { "'response_format':{'type':'text'}", "", DS4_FORM_FREE },
        { "'response_format':{'type':'json_object'}", "response_format", DS4_FORM_OBJECT },
        { "'response_format':{'type':'json_object','schema':" SCHEMA "}", "response_format.schema",
          DS4_FORM_SCHEMA },
        { "'response_format':{'type':'json_schema','json_schema':{'name':'n','strict':true,'schema'"
          ":" SCHEMA "}}",
          "response_format.json_schema.schema", DS4_FORM_SCHEMA },
        { "'text':{'format':{'type':'json_schema','name':'n','schema':" SCHEMA "}}",
          "text.format.schema", DS4_FORM_SCHEMA },
        { "'output_config':{'format':{'type':'json_schema','schema':" SCHEMA "}}",
          "output_config.format.schema", DS4_FORM_SCHEMA },
        { "'output_format':{'type':'json_schema','schema':" SCHEMA "}", "output_format.schema",
          DS4_FORM_SCHEMA },
        { "'guided_json':" SCHEMA, "guided_json", DS4_FORM_SCHEMA },
        { "'guided_json':'{}'", "guided_json", DS4_FORM_SCHEMA },
        { "'json_schema':" SCHEMA, "json_schema", DS4_FORM_SCHEMA },
        { "'json_schema':{'name':'n','schema':" SCHEMA "}", "json_schema", DS4_FORM_SCHEMA },
        { "'format':'json'", "format", DS4_FORM_OBJECT },
        { "'format':" SCHEMA, "format", DS4_FORM_SCHEMA },
        { "'guided_choice':['yes','no']", "guided_choice", DS4_FORM_CHOICE },
        { "'guided_regex':'[a-c]+'", "guided_regex", DS4_FORM_REGEX },
        { "'regex':'[a-c]+'", "regex", DS4_FORM_REGEX },
        { "'structured_outputs':{'json':" SCHEMA "}", "structured_outputs.json", DS4_FORM_SCHEMA },
        { "'structured_outputs':{'choice':['a']}", "structured_outputs.choice", DS4_FORM_CHOICE },
        { "'structured_outputs':{'regex':'[a-c]+'}", "structured_outputs.regex", DS4_FORM_REGEX },
        { "'structured_outputs':{'json_object':true}", "structured_outputs.json_object",
          DS4_FORM_OBJECT },
        { "'nvext':{'guided_choice':['a']}", "nvext.guided_choice", DS4_FORM_CHOICE },
        { "'extra_body':{'guided_json':" SCHEMA "}", "extra_body.guided_json", DS4_FORM_SCHEMA },
        { "'grammar':'','json_schema':null,'format':'','guided_choice':null", "", DS4_FORM_FREE },
    };
    ds4_request rq;

    (void)state;
    for (uint32_t k = 0; k < N_APIS; k++) {
        for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
            read_body(&rq, apis[k].api, with(k, forms[i].member));
            if (rq.form.kind != forms[i].kind) fail_msg("%s", body);
            assert_string_equal(forms[i].name, rq.form.member);
            ds4_request_clear(&rq);
        }
    }
}

static void test_forms_that_are_refused(void **state)
{
    static const struct {
        const char *member, *param, *what;
    } list[] = {
        { "'grammar':'root ::= x'", "grammar", "not supported" },
        { "'guided_grammar':'x'", "guided_grammar", "not supported" },
        { "'ebnf':'x'", "ebnf", "not supported" },
        { "'structural_tag':'{}'", "structural_tag", "not supported" },
        { "'structured_outputs':{'grammar':'x'}", "structured_outputs.grammar", "not supported" },
        { "'response_format':{'type':'grammar','value':'x'}", "response_format.type",
          "json_schema" },
        { "'response_format':{'type':'json_schema','json_schema':{'name':'n'}}",
          "response_format.json_schema.schema", "must be an object" },
        { "'guided_json':5", "guided_json", "JSON schema" },
        { "'guided_json':'no JSON'", "guided_json", "JSON schema" },
        { "'guided_choice':[]", "guided_choice", "at least one" },
        { "'guided_choice':[5]", "guided_choice[0].", "must be a string" },
        { "'guided_choice':['a'],'guided_regex':'b'", "guided_regex",
          "together with 'guided_choice'" },
    };

    (void)state;
    for (uint32_t k = 0; k < N_APIS; k++) {
        for (size_t i = 0; i < sizeof list / sizeof *list; i++)
            refuses(apis[k].api, with(k, list[i].member), list[i].param, list[i].what);
    }
}

/* Members that sample otherwise are refused by name, and those that say "as always" are let through. */
static void test_samplers(void **state)
{
    static const struct {
        const char *name, *off, *on;
    } list[] = {

        { "min_tokens", "0", "5" },
        { "ignore_eos", "false", "true" },
        { "bad_words", "[ ]", "['a']" },
        { "stop_token_ids", "[]", "[1]" },
        { "mirostat", "0", "2" },
        { "typical_p", "1.0", "0.5" },
        { "dry_multiplier", "0.0", "0.8" },
        { "xtc_probability", "0", "0.1" },
        { "top_n_sigma", "-1", "1" },
        { "best_of", "1", "2" },
        { "use_beam_search", "false", "true" },
    };
    char        member[80];
    ds4_request rq;

    (void)state;
    for (uint32_t k = 0; k < N_APIS; k++) {
        for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
            snprintf(member, sizeof member, "'%s':%s", list[i].name, list[i].off);
            read_body(&rq, apis[k].api, with(k, member));
            ds4_request_clear(&rq);
            snprintf(member, sizeof member, "'%s':%s", list[i].name, list[i].on);
            refuses(apis[k].api, with(k, member), list[i].name, "not supported");
        }
    }
}

static void test_penalties(void **state)
{
    ds4_request rq;

    (void)state;
    for (uint32_t k = 0; k < N_APIS; k++) {
        read_body(&rq, apis[k].api,
                  with(k, "'frequency_penalty':0.5,'presence_penalty':-1,'repeat_penalty':1.5,"
                          "'logit_bias':{'50':-100,'7':2.5}"));
        assert_true(rq.penalties.frequency > 0.49f && rq.penalties.presence < -0.99f);
        assert_true(rq.penalties.repetition > 1.49f);
        assert_int_equal(2, rq.penalties.n_bias);
        assert_int_equal(50, rq.penalties.bias[0].id);
        assert_true(rq.penalties.bias[1].bias > 2.49f);
        ds4_request_clear(&rq);
        refuses(apis[k].api, with(k, "'frequency_penalty':3"), "frequency_penalty", "between");
        refuses(apis[k].api, with(k, "'logit_bias':{'word':1}"), "logit_bias.word",
                "id of a token");
        refuses(apis[k].api, with(k, "'logit_bias':{'5':101}"), "logit_bias.5", "between");
    }
}

static void test_no_reasoning(void **state)
{
    static const char *const off[] = {
        "'reasoning_effort':'none'",
        "'reasoning_effort':'minimal'",
        "'thinking':{'type':'disabled'}",
        "'thinking':false",
        "'thinking':'off'",
        "'think':false",
        "'think':'none'",
        "'enable_thinking':false",
        "'enable_reasoning':false",
        "'chat_template_kwargs':{'enable_thinking':false}",
        "'chat_template_kwargs':{'thinking':false}",
        "'chat_template_kwargs':{'reasoning_effort':'none'}",
        "'extra_body':{'thinking':{'type':'disabled'}}",
        "'reasoning':{'effort':'none'}",
        "'reasoning':{'effort':'minimal'}",
        "'reasoning':{'enabled':false}",
        "'reasoning':{'max_tokens':0}",
        "'reasoning':false",
        "'thinking_budget':0",
        "'reasoning_budget':0",
        "'thinking':{'type':'enabled','budget_tokens':0}",
        "'output_config':{'effort':'none'}",
        "'enable_thinking':false,'reasoning_effort':'high'",
        "'model':'deepseek-chat'",
    };
    static const char *const on[] = {
        "'thinking':{'type':'adaptive'}",
        "'thinking':{'type':'enabled','budget_tokens':9}",
        "'think':'high'",
        "'reasoning':{'effort':'low'}",
        "'reasoning_budget':-1,'thinking':true",
        "'reasoning':{'enabled':true,'exclude':true}",
        "'chat_template_kwargs':{'thinking':true}",
        "'reasoning_effort':'xhigh'",
        "'thinking':true,'reasoning_effort':'none'",
    };
    ds4_request rq;

    (void)state;
    for (uint32_t k = 0; k + 1 < N_APIS; k++) {
        for (size_t i = 0; i < sizeof off / sizeof *off; i++) {
            read_body(&rq, apis[k].api, with(k, off[i]));
            if (rq.chat.thinking) fail_msg("%s", body);
            ds4_request_clear(&rq);
        }
        for (size_t i = 0; i < sizeof on / sizeof *on; i++) {
            read_body(&rq, apis[k].api, with(k, on[i]));
            if (!rq.chat.thinking) fail_msg("%s", body);
            ds4_request_clear(&rq);
        }
    }
    read_body(&rq, DS4_API_CHAT, with(0, "'reasoning':{'max_tokens':77,'exclude':true}"));
    assert_int_equal(77, rq.thinking_budget);
    assert_true(rq.hide_reasoning);
    ds4_request_clear(&rq);
}

static void test_no_limit(void **state)
{
    static const char *const limits[] = { "max_tokens", "max_completion_tokens", "max_tokens",
                                          "max_output_tokens" };
    char                     member[80];
    ds4_request              rq;

    (void)state;
    for (uint32_t k = 0; k < N_APIS; k++) {
        snprintf(member, sizeof member, "'top_k':-1,'%s':-1",
                 limits[apis[k].api == DS4_API_RESPONSES ? 3 : k == 0]);
        read_body(&rq, apis[k].api, with(k, member));
        assert_int_equal(0, rq.max_tokens);
        assert_int_equal(0, rq.sampling.top_k);
        ds4_request_clear(&rq);
        refuses(apis[k].api, with(k, "'top_k':-2"), "top_k", "between");
        refuses(apis[k].api, with(k, "'max_tokens':-2"), "max_tokens", "between");
    }
}

/* A tool in any API's form, and what may be beside it. */
static void test_tools_in_other_forms(void **state)
{
    static const char *const forms[] = {
        "{'name':'find','description':'d','input_schema':{'type':'object'}}",
        "{'type':'custom','name':'find','description':'d','input_schema':{'type':'object'}}",
        "{'type':'function','name':'find','description':'d','parameters':{'type':'object'},'strict'"
        ":null}",
        "{'type':'function','function':{'name':'find','description':'d','parameters':{'type':'"
        "object'}}}",
        "{'type':'function','function':{'name':'find','description':'d','input_schema':{'type':'"
        "object'}}}",
        "{'name':'find','description':'d','input_schema':{'type':'object'},'input_examples':[{'a':"
        "1}],"
        "'cache_control':{'type':'ephemeral'},'allowed_callers':['direct']}",
    };
    char        member[400];
    ds4_request rq;

    (void)state;
    for (uint32_t k = 0; k + 1 < N_APIS; k++) {
        for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
            snprintf(member, sizeof member, "'tools':[%s]", forms[i]);
            read_body(&rq, apis[k].api, with(k, member));
            assert_int_equal(1, rq.n_tools);
            if (!ds4_slice_is(rq.tool_json[0], "{\"name\": \"find\", \"description\": \"d\", "
                                               "\"parameters\": {\"type\":\"object\"}}"))
                fail_msg("%s: %s", body, rq.tool_json[0].data);
            ds4_request_clear(&rq);
        }
    }
}

static void test_choices_of_tools(void **state)
{
    static const struct {
        const char     *choice;
        ds4_tool_choice kind;
        uint32_t        n_tools;
    } list[] = {
        { "'auto'", DS4_TOOLS_AUTO, 2 },
        { "'none'", DS4_TOOLS_NONE, 0 },
        { "'required'", DS4_TOOLS_REQUIRED, 2 },
        { "{'type':'auto','disable_parallel_tool_use':true}", DS4_TOOLS_AUTO, 2 },
        { "{'type':'any'}", DS4_TOOLS_REQUIRED, 2 },
        { "{'type':'none'}", DS4_TOOLS_NONE, 0 },
        { "{'type':'tool','name':'g'}", DS4_TOOLS_NAMED, 2 },
        { "{'type':'function','name':'g'}", DS4_TOOLS_NAMED, 2 },
        { "{'type':'function','function':{'name':'g'}}", DS4_TOOLS_NAMED, 2 },
        { "{'type':'allowed_tools','mode':'auto','tools':[{'type':'function','name':'g'}]}",
          DS4_TOOLS_AUTO, 1 },
        { "{'type':'allowed_tools','allowed_tools':{'mode':'required','tools':[{'type':'function','"
          "function':"
          "{'name':'g'}}]}}",
          DS4_TOOLS_REQUIRED, 1 },
    };
    char        member[400];
    ds4_request rq;

    (void)state;
    for (uint32_t k = 0; k + 1 < N_APIS; k++) {
        for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
            snprintf(member, sizeof member,
                     "'tools':[{'name':'f','input_schema':{}},{'name':'g','input_schema':{}}],"
                     "'tool_choice':%s",
                     list[i].choice);
            read_body(&rq, apis[k].api, with(k, member));
            if (rq.tool_choice != list[i].kind || rq.n_tools != list[i].n_tools)
                fail_msg("%s", body);
            if (list[i].kind != DS4_TOOLS_NONE) assert_int_equal(2, rq.chat.n_tools);
            ds4_request_clear(&rq);
        }
        refuses(
            apis[k].api,
            with(k, "'tools':[{'name':'f','input_schema':{}}],'tool_choice':{'type':'web_search'}"),
            "tool_choice", "name a tool");
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_forms_of_answers),
    cmocka_unit_test(test_forms_that_are_refused),
    cmocka_unit_test(test_samplers),
    cmocka_unit_test(test_penalties),
    cmocka_unit_test(test_no_reasoning),
    cmocka_unit_test(test_no_limit),
    cmocka_unit_test(test_tools_in_other_forms),
    cmocka_unit_test(test_choices_of_tools),
};

TEST_MAIN(tests)
