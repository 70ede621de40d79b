/* content.h - what the parts of a message say, in all APIs.
 *
 * A content is a string or a list of parts, and some dozen kinds of parts hold words: documents,
 * search results, what hosted tools gave back. This model reads text only. A part without words
 * (a picture, a PDF) becomes a line of text in its place, so that a conversation that holds one
 * goes on and the model can say what it did not see. The one exception is a picture that the user
 * sends last: ds4_content_check() refuses it, since there is no older turn to save. */
#ifndef DS4_APP_SERVER_CONTENT_H
#define DS4_APP_SERVER_CONTENT_H

#include "app/server/request.h"

/* Read a content.
 *
 *   json     a string, a list of parts, one part, or null
 *   where    names it in refusals, as "messages[2].content"
 *   between  what joins the texts of parts
 *   out      in the request's arena
 *
 * Returns DS4_OK; DS4_E_FORMAT for what is no content and for members of a wrong type; DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_read_content(ds4_request *rq, ds4_slice json, const char *where,
                                           const char *between, ds4_slice *out, ds4_err *err);

/* Read one part that is opened already; as ds4_read_content(). */
DS4_MUST_CHECK ds4_status ds4_read_part(ds4_request *rq, const ds4_fields *part, ds4_slice *out,
                                        ds4_err *err);

/* When all messages are read: refuse a part without words in the user's last message. */
DS4_MUST_CHECK ds4_status ds4_content_check(ds4_request *rq, ds4_err *err);

#endif
