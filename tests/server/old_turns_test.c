/* old_turns_test.c - nothing in an old turn is refused: what holds words is read, what holds none is a
 * line in its place, and a conversation may end as it likes. */
#include "server/request_reading.h"

/* A conversation of each API around one part, in a tool's result and in the user's first message. */
typedef struct frame {
    ds4_api     api;
    const char *result[2], *user[2];
} frame;

static const frame frames[] = {
    { DS4_API_CHAT,
      { "{'thinking':false,'messages':[{'role':'user','content':'Q'},{'role':'assistant','tool_"
        "calls':[{'id':'c',"
        "'function':{'name':'f'}}]},{'role':'tool','tool_call_id':'c','content':[",
        "]}]}" },
      { "{'thinking':false,'messages':[{'role':'user','content':[",
        "]},{'role':'user','content':'R'}]}" } },
    { DS4_API_MESSAGES,
      { "{'messages':[{'role':'user','content':'Q'},{'role':'assistant','content':[{'type':'tool_"
        "use','id':'c',"
        "'name':'f','input':{}}]},{'role':'user','content':[{'type':'tool_result','tool_use_id':'c'"
        ",'content':[",
        "]}]}]}" },
      { "{'messages':[{'role':'user','content':[", "]},{'role':'user','content':'R'}]}" } },
    { DS4_API_RESPONSES,
      { "{'reasoning':{'effort':'none'},'input':[{'role':'user','content':'Q'},{'type':'function_"
        "call','call_id':'c',"
        "'name':'f'},{'type':'function_call_output','call_id':'c','output':[",
        "]}]}" },
      { "{'reasoning':{'effort':'none'},'input':[{'role':'user','content':[",
        "]},{'role':'user','content':'R'}]}" } },
};

#define CALL_F                                       \
    "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke " \
    "name=\"f\">\n\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>"

static const struct {
    const char *part, *text;
} parts[] = {
    { "{'type':'text','text':'t'}", "t" },
    { "{'type':'input_text','text':'t'}", "t" },
    { "{'type':'image','source':{'type':'base64','media_type':'image/png','data':'iVBO'}}",
      "[image: this model reads text only]" },
    { "{'type':'image_url','image_url':{'url':'data:image/png;base64,iVBO'}}",
      "[image: this model reads text only]" },
    { "{'type':'input_image','image_url':'data:image/png;base64,iVBO'}",
      "[image: this model reads text only]" },
    { "{'type':'input_audio','input_audio':{'data':'AAAA','format':'wav'}}",
      "[audio: this model reads text only]" },
    { "{'type':'document','source':{'type':'text','media_type':'text/plain','data':'d'}}", "d" },
    { "{'type':'document','title':'T','context':'C','source':{'type':'text','media_type':'text/"
      "plain','data':'d'}}",
      "T\nC\nd" },
    { "{'type':'document','source':{'type':'content','content':[{'type':'text','text':'x'},{'type':"
      "'image'}]}}",
      "x\n[image: this model reads text only]" },
    { "{'type':'document','title':'a.pdf','source':{'type':'base64','media_type':'application/"
      "pdf','data':'JVBE'}}",
      "[document a.pdf: this model reads text only]" },
    { "{'type':'document','source':{'type':'url','url':'https://e.org/a.pdf'}}",
      "[document https://e.org/a.pdf: this model reads text only]" },
    { "{'type':'search_result','source':'https://"
      "e.org','title':'T','content':[{'type':'text','text':'x'}]}",
      "T\nhttps://e.org\nx" },
    { "{'type':'tool_reference','tool_name':'g'}", "Tool: g" },
    { "{'type':'input_file','filename':'a.txt','file_data':'data:text/plain;base64,aGkgdGhlcmU='}",
      "a.txt\nhi there" },
    { "{'type':'input_file','filename':'a.pdf','file_data':'data:application/pdf;base64,aGk='}",
      "[file a.pdf: this model reads text only]" },
    { "{'type':'file','file':{'filename':'a.bin','file_id':'f1'}}",
      "[file a.bin: this model reads text only]" },
    { "{'type':'resource','resource':{'uri':'file:///x','text':'y'}}", "file:///x\ny" },
    { "{'type':'code_execution_result','stdout':'1','stderr':'','return_code':0}", "1" },
    { "{'type':'of_tomorrow','text':'t'}", "t" },
    { "{'type':'of_tomorrow','blob':'t'}", "[of_tomorrow: this model reads text only]" },
};

static void test_every_part_of_an_old_turn_is_read(void **state)
{
    char body[2000], expected[2000];

    (void)state;
    for (size_t k = 0; k < sizeof frames / sizeof *frames; k++) {
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
            const frame *f = &frames[k];
            snprintf(body, sizeof body, "%s%s%s", f->result[0], parts[i].part, f->result[1]);
            snprintf(expected, sizeof expected,
                     BOS USER "Q" ASSISTANT "</think>" CALL_F EOS USER
                              "<tool_result>%s</tool_result>" ASSISTANT "</think>",
                     parts[i].text);
            renders(f->api, body, expected);
            snprintf(body, sizeof body, "%s%s%s", f->user[0], parts[i].part, f->user[1]);
            snprintf(expected, sizeof expected, BOS USER "%s\n\nR" ASSISTANT "</think>",
                     parts[i].text);
            renders(f->api, body, expected);
        }
    }
}

/* A picture that the user sends last is refused by name; one that a tool's result brings along is not. */
static void test_a_picture_that_comes_last(void **state)
{
    (void)state;
    refuses(DS4_API_CHAT,
            "{'messages':[{'role':'user','content':[{'type':'text','text':'a'},{'type':'image_url'}"
            "]}]}",
            "messages[0].content[1].type", "cannot be 'image_url': only text input is supported");
    refuses(
        DS4_API_MESSAGES,
        "{'messages':[{'role':'user','content':[{'type':'image'},{'type':'text','text':'a'}]}]}",
        "messages[0].content[0].type", "image");
    refuses(DS4_API_RESPONSES, "{'input':[{'role':'user','content':[{'type':'input_image'}]}]}",
            "input[0].content[0].type", "input_image");
    refuses(DS4_API_MESSAGES,
            "{'messages':[{'role':'user','content':[{'type':'document','source':{'type':'base64','"
            "data':'JVBE'}}]}]}",
            "messages[0].content[0].type", "document");
    renders(DS4_API_MESSAGES,
            "{'messages':[{'role':'user','content':[{'type':'tool_result','tool_use_id':'c','"
            "content':'r'},"
            "{'type':'image'}]}]}",
            BOS USER "<tool_result>r</tool_result>\n\n[image: this model reads text only]" ASSISTANT
                     "</think>");
}

/* The work of a service's own tools is a call with a result. */
static void test_tools_of_a_service(void **state)
{
    const char *expected = BOS USER
        "Q" ASSISTANT "</think>\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"web_search\">\n"
        "<｜DSML｜parameter name=\"query\" "
        "string=\"true\">q</｜DSML｜parameter>\n</｜DSML｜invoke>\n"
        "</｜DSML｜tool_calls>" EOS USER "<tool_result>%s</tool_result>" ASSISTANT
        "</think>A" EOS             USER "R" ASSISTANT "</think>";
    char                            text[2000];

    (void)state;
    snprintf(text, sizeof text, expected, "T\nhttps://e.org");
    renders(
        DS4_API_MESSAGES,
        "{'messages':[{'role':'user','content':'Q'},{'role':'assistant','content':[{'type':'server_"
        "tool_use','id':'s',"
        "'name':'web_search','input':{'query':'q'}},{'type':'web_search_tool_result','tool_use_id':"
        "'s','content':["
        "{'type':'web_search_result','title':'T','url':'https://e.org','encrypted_content':'zz'}]},"
        "{'type':'text','text':'A','citations':[]}]},{'role':'user','content':'R'}]}",
        text);
    snprintf(text, sizeof text, expected, "[the result is not part of this conversation]");
    renders(DS4_API_RESPONSES,
            "{'reasoning':{'effort':'none'},'input':[{'role':'user','content':'Q'},{'type':'web_"
            "search_call','id':'ws_1',"
            "'status':'completed','action':{'query':'q'}},{'role':'assistant','content':'A'},{'"
            "role':'user','content':'R'}]}",
            text);
    snprintf(text, sizeof text, expected, "found");
    renders(
        DS4_API_MESSAGES,
        "{'messages':[{'role':'user','content':'Q'},{'role':'assistant','content':[{'type':'mcp_"
        "tool_use','id':'s',"
        "'name':'web_search','server_name':'x','input':{'query':'q'}},{'type':'mcp_tool_result','"
        "tool_use_id':'s',"
        "'is_error':false,'content':[{'type':'text','text':'found'}]},{'type':'text','text':'A'}]},"
        "{'role':'user','content':'R'}]}",
        text);
    renders(DS4_API_RESPONSES,
            "{'reasoning':{'effort':'none'},'input':[{'role':'user','content':'Q'},{'type':'mcp_"
            "call','id':'m',"
            "'name':'web_search','server_label':'x','arguments':'{\\u0022query\\u0022:"
            "\\u0022q\\u0022}','output':'found'},"
            "{'type':'mcp_list_tools','tools':[]},{'type':'compaction','encrypted_content':'x'},"
            "{'role':'assistant','content':'A'},{'role':'user','content':'R'}]}",
            text);
}

/* An older form of a call has no id, and its result no more. */
static void test_function_call_in_history(void **state)
{
    (void)state;
    renders(DS4_API_CHAT,
            "{'thinking':false,'messages':[{'role':'user','content':'Q'},{'role':'assistant','"
            "content':null,"
            "'function_call':{'name':'f','arguments':'{}'}},{'role':'function','name':'f','content'"
            ":'r'}]}",
            BOS USER "Q" ASSISTANT "</think>" CALL_F EOS USER
                     "<tool_result>r</tool_result>" ASSISTANT "</think>");
    renders(DS4_API_CHAT,
            "{'thinking':false,'messages':[{'role':'user','content':'Q'},{'role':'assistant','"
            "content':null,'tool_calls':["
            "{'id':'c','type':'custom','custom':{'name':'web_search','input':'q'}}]},"
            "{'role':'tool','tool_call_id':'c','content':{'n':[1]}}]}",
            BOS USER
            "Q" ASSISTANT "</think>\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"web_search\">\n"
            "<｜DSML｜parameter name=\"input\" "
            "string=\"true\">q</｜DSML｜parameter>\n</｜DSML｜invoke>\n"
            "</｜DSML｜tool_calls>" EOS USER "<tool_result>{\"n\":[1]}</tool_result>" ASSISTANT
            "</think>");
}

/* A deferred tool is absent from the front, and defined where the conversation finds it, once. */
static void test_deferred_tools(void **state)
{
    static const char tools[] =
        "'tools':[{'name':'S','input_schema':{}},{'name':'W','description':'d',"
        "'defer_loading':true,'input_schema':{'type':'object'}},"
        "{'name':'X','defer_loading':true,'input_schema':{}}]";
    static const char found[] =
        "{'role':'user','content':'Q'},{'role':'assistant','content':[{'type':'tool_use',"
        "'id':'c','name':'S','input':{}}]},{'role':'user','content':[{'type':'tool_result',"
        "'tool_use_id':'c','content':[{'type':'tool_reference','tool_name':'W'},"
        "{'type':'tool_reference','tool_name':'W'},{'type':'tool_reference','tool_name':'none'}]}]"
        "}";
    char         body[2000];
    ds4_request  rq;
    ds4_segments text = { 0 };

    (void)state;
    snprintf(body, sizeof body, "{%s,'messages':[{'role':'user','content':'Q'}]}", tools);
    read_body(&rq, DS4_API_MESSAGES, body);
    assert_int_equal(1, rq.n_tools);
    assert_int_equal(1, rq.chat.n_tools);
    ds4_request_clear(&rq);

    snprintf(body, sizeof body, "{%s,'messages':[%s]}", tools, found);
    read_body(&rq, DS4_API_MESSAGES, body);
    assert_int_equal(2, rq.n_tools);
    assert_true(ds4_slice_is(rq.tools[1].name, "W"));
    assert_int_equal(1, rq.chat.n_tools);
    assert_int_equal(DS4_OK, ds4_request_render(&rq, &text, NULL));
    const char *end = strstr(ds4_segments_text(&text).data, "<tool_result>");
    assert_string_equal(
        "<tool_result>This tool can be called from now on:\n"
        "{\"name\": \"W\", \"description\": \"d\", \"parameters\": {\"type\": \"object\"}}"
        "\n\nTool: W\n\nTool: none</tool_result>" ASSISTANT "</think>",
        end);
    assert_null(strstr(ds4_segments_text(&text).data, "\"X\""));
    ds4_segments_clear(&text);
    ds4_request_clear(&rq);

    /* Named, it is offered at once; and where nothing could find it. */
    snprintf(
        body, sizeof body,
        "{%s,'tool_choice':{'type':'tool','name':'X'},'messages':[{'role':'user','content':'Q'}]}",
        tools);
    read_body(&rq, DS4_API_MESSAGES, body);
    assert_int_equal(2, rq.chat.n_tools);
    ds4_request_clear(&rq);
    read_body(&rq, DS4_API_MESSAGES,
              "{'tools':[{'name':'X','defer_loading':true,'input_schema':{}},{'name':'Y','input_"
              "schema':{}},"
              "{'type':'tool_search_tool_regex_20251119','name':'t'}],'messages':[{'role':'user','"
              "content':'Q'}]}");
    assert_int_equal(2, rq.chat.n_tools);
    ds4_request_clear(&rq);
}

static void test_references_to_items(void **state)
{
    (void)state;
    renders(DS4_API_RESPONSES,
            "{'reasoning':{'effort':'none'},'input':[{'role':'user','content':'a'},{'type':'item_"
            "reference',"
            "'id':'msg_000000000000000000000000000000010001'},{'role':'user','content':'c'}]}",
            BOS USER "a" ASSISTANT "</think>b" EOS USER "c" ASSISTANT "</think>");
    renders(DS4_API_RESPONSES,
            "{'reasoning':{'effort':'none'},'input':[{'role':'user','content':'a'},"
            "{'id':'msg_000000000000000000000000000000010001'},{'role':'user','content':'c'}]}",
            BOS USER "a" ASSISTANT "</think>b" EOS USER "c" ASSISTANT "</think>");
    refuses(DS4_API_RESPONSES,
            "{'input':[{'type':'item_reference','id':'msg_000000000000000000000000000000010002'}]}",
            "input[0].id", "msg_000000000000000000000000000000010002");
    refuses(DS4_API_RESPONSES, "{'input':[{'type':'item_reference','id':'x'}]}", "input[0].id",
            "replay the item");
    ds4_request rq;
    read_body(
        &rq, DS4_API_RESPONSES,
        "{'input':[{'type':'item_reference','id':'msg_000000000000000000000000000000010001'}]}");
    assert_null(strstr(rq.items.data, "item_reference")); /* what is kept stands for itself */
    ds4_request_clear(&rq);
}

/* Whoever spoke last, the answer is the assistant's. */
static void test_the_last_message(void **state)
{
    static const struct {
        ds4_api     api;
        const char *body;
    } words[] = {
        { DS4_API_CHAT, "{'thinking':false,'messages':[{'role':'user','content':'Q'},{'role':'"
                        "assistant','content':'A'}]}" },
        { DS4_API_CHAT, "{'thinking':false,'continue_final_message':true,'add_generation_prompt':"
                        "false,'messages':["
                        "{'role':'user','content':'Q'},{'role':'assistant','content':'A'}]}" },
        { DS4_API_MESSAGES,
          "{'messages':[{'role':'user','content':'Q'},{'role':'assistant','content':'A'}]}" },
        { DS4_API_RESPONSES,
          "{'reasoning':{'effort':'none'},'input':[{'role':'user','content':'Q'},"
          "{'role':'assistant','content':'A'}]}" },
    };
    static const char *const empty[] = { "'content':''", "'content':null", "'content':[]",
                                         "'refusal':null" };
    char                     body[300];

    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        renders(words[i].api, words[i].body, BOS USER "Q" ASSISTANT "</think>A");
    }
    for (size_t i = 0; i < 4; i++) {
        snprintf(
            body, sizeof body,
            "{'thinking':false,'messages':[{'role':'user','content':'Q'},{'role':'assistant',%s}]}",
            empty[i]);
        renders(DS4_API_CHAT, body, BOS USER "Q" ASSISTANT "</think>");
    }
    renders(
        DS4_API_CHAT,
        "{'messages':[{'role':'user','content':'Q'},{'role':'assistant','reasoning_content':'r'}]}",
        BOS USER "Q" ASSISTANT "<think>r");
    renders(DS4_API_CHAT,
            "{'thinking':false,'messages':[{'role':'user','content':'Q'},{'role':'assistant','tool_"
            "calls':[{'id':'c',"
            "'function':{'name':'f'}}]}]}",
            BOS USER "Q" ASSISTANT "</think>" CALL_F EOS USER
                     "<tool_result>[the call was not carried out]</tool_result>" ASSISTANT
                     "</think>");
    renders(DS4_API_CHAT,
            "{'thinking':false,'messages':[{'role':'system','content':'S'},{'role':'assistant','"
            "content':'A'}]}",
            BOS "S" ASSISTANT "</think>A");
    refuses(DS4_API_CHAT,
            "{'continue_final_message':true,'messages':[{'role':'user','content':'Q'}]}",
            "messages", "must end with words of the assistant");
    refuses(DS4_API_CHAT,
            "{'add_generation_prompt':false,'messages':[{'role':'user','content':'Q'}]}",
            "messages", "must end with words of the assistant");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_every_part_of_an_old_turn_is_read),
    cmocka_unit_test(test_a_picture_that_comes_last),
    cmocka_unit_test(test_tools_of_a_service),
    cmocka_unit_test(test_function_call_in_history),
    cmocka_unit_test(test_deferred_tools),
    cmocka_unit_test(test_references_to_items),
    cmocka_unit_test(test_the_last_message),
};

TEST_MAIN(tests)
