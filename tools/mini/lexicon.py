"""Word lists of the data generator, each split into a training part and a held-out part.

Every seventh entry of a list is held out: the training generator never emits it, the
evaluation generator emits nothing else where a list is about content.
"""


class Words:
    """A list with a training and a held-out part."""

    def __init__(self, text, sep=None):
        items = [w.strip() for w in text.split(sep)]
        items = [w for w in dict.fromkeys(items) if w]
        self.held = items[3::7]
        self.train = [w for i, w in enumerate(items) if i % 7 != 3]

    def of(self, held):
        return self.held if held else self.train


FIRST = Words("""Ada Ben Clara David Elena Felix Grace Hugo Irene Jonas Karin Leo Mara Noah Olga Paul Quinn
Rosa Simon Tara Uma Victor Wanda Xavier Yara Zoe Amir Bella Carl Dora Emil Fiona Georg Hanna Ivan Julia Kurt Lena
Marco Nina Oscar Petra Rafael Sofia Tomas Ursula Vera Walter Yusuf Zara Alice Boris Cora Dario Edith Frank Gina
Henry Ines Jakob Kira Lukas Maya Nils Otto Paula Ravi Sara Theo Ulla Vince Willa Yann Zelda Aaron Beth Cyril Diana
Ethan Flora Gustav Helen Igor Jane Kemal Laura Miguel Nora Oliver Priya Robert Selma Timur Violet Wendy Akira Bruno
Celia Dennis Esther Farid Gloria Harold Iris Joel Katya Liam Monica Nathan Oksana Peter Rita Samuel Teresa Ulrich
Valentin Winston Yolanda Abel Brigid Conrad Daphne Edgar Freya Gerald Hilda Isaac Joan Klaus Lydia Martin Nadia Orson
Pia Ramon Stella Trevor Viola Wesley Agnes Basil Chloe Derek Eva Fred Greta Howard Imani Jasper Kaya Leon Mabel Ned
Opal Piotr Ruth Sven Thelma Vikram Ximena Anton Bianca Cedric Delia Erik Fatima Gordon Heidi Ismail Jenny Kofi Linda
Magnus Naomi Owen Pearl Rolf Silvia Tim Vanessa Warren Alma Bert Carmen Dmitri Elise Fabio Gwen Hector Isabel Jorge""")

LAST = Words("""Adler Bauer Castro Dunn Eriksen Fischer Garcia Hoffman Ibsen Jansen Keller Lopez Moreau Nolan Okafor
Petrov Quist Romano Schmidt Tanaka Ueda Vogel Weber Xu Young Zimmer Abbott Brandt Cohen Duarte Evans Ferrari Grant
Hansen Ivanov Jung Klein Lambert Mendes Novak Olsen Parker Reyes Santos Thorne Usman Varga Walsh Yilmaz Zhou Archer
Blake Carver Dalton Ellis Foster Gibson Hale Irwin Jarvis Knox Lang Mercer Nash Osborn Pike Quigley Rowe Sharp Tate
Underwood Vance Wilde Yates Ashby Barlow Crane Doyle Emery Frost Glover Harlow Ingram Jordan Kerr Lister Marsh Norris
Oakley Porter Rhodes Stark Tucker Vaughn Winter Baxter Chandler Drake Farrow Gale Hobbs Joyner Kemp Locke Monroe Nye
Orr Penn Rusk Sloan Trent Upton Voss Ward York Bishop Cole Dean Fenn Gray Hunt Kane Lowe Moss North Page Ross Stone""")

CITY = Words("""Paris London Berlin Madrid Rome Vienna Prague Lisbon Dublin Oslo Athens Warsaw Budapest Zurich Geneva
Milan Naples Turin Munich Hamburg Cologne Lyon Nice Porto Seville Valencia Bergen Helsinki Stockholm Copenhagen Riga
Tallinn Vilnius Krakow Bratislava Ljubljana Zagreb Belgrade Sofia Bucharest Istanbul Ankara Cairo Tunis Lagos Nairobi
Accra Dakar Tokyo Osaka Kyoto Seoul Beijing Shanghai Delhi Mumbai Chennai Hanoi Bangkok Manila Jakarta Singapore
Sydney Melbourne Perth Brisbane Auckland Wellington Toronto Montreal Vancouver Calgary Boston Chicago Denver Seattle
Portland Austin Dallas Houston Phoenix Miami Atlanta Detroit Cleveland Memphis Nashville Omaha Tucson Reno Havana
Lima Quito Bogota Santiago Caracas Montevideo Asuncion Salvador Recife Mexico Antwerp Ghent Bruges Utrecht Leiden
Rotterdam Basel Bern Graz Linz Salzburg Dresden Leipzig Bonn Kassel Mainz Ulm Verona Padua Siena Pisa Bologna
Granada Malaga Bilbao Toledo Cork Galway Leeds York Bath Oxford Cambridge Bristol Glasgow Edinburgh Cardiff Belfast""")

COLOR = Words("""red blue green yellow orange purple pink brown black white grey silver golden violet scarlet crimson
turquoise amber ivory indigo maroon teal olive navy beige coral lavender copper bronze emerald ruby pearl cream rust
mint plum khaki azure""")

ADJ = Words("""quiet old small large bright heavy narrow wide gentle strong early late empty full simple careful clever
curious distant eager famous fragile friendly frozen hidden hollow honest humble hungry lively lonely lucky modern
noisy patient plain polite proud quick rapid rare rough round rusty sharp shiny silent smooth soft solid steady steep
sudden tall thin tidy tiny warm wild wise wooden young ancient broken calm cheap clean cold common cosy crowded curved
damp dark deep dense dry dusty elegant faint fine flat fresh grand green happy hard huge light local long loose loud
low main mild muddy neat new pale poor pretty pure rich salty short shy slow stiff strange sunny sweet thick useful
weak wet worn gloomy spotless crooked cheerful forgotten enormous delicate peculiar splendid ordinary remarkable""")

NOUN = Words("""apple anchor basket bell bicycle blanket boat book bottle bridge brush bucket button candle carpet castle
chair clock cloud coat compass cup curtain desk door drawer drum engine farm feather fence field flag flute forest fork
fountain garden gate glass glove hammer harbor hat hill horse house island jacket jar kettle key kitchen knife ladder
lake lamp lantern leaf letter library lighthouse lock map market meadow mill mirror mountain museum needle nest net
notebook oven paddle painting paper path pencil piano picture pillow pipe plate pocket pond pot puzzle quilt radio
railway ribbon ring river road roof rope sail saw scarf school shelf ship shoe shop spoon square stable stair star
station stone stool stove street suitcase table tent ticket tower train tray tree truck tunnel umbrella valley vase
village violin wagon wall watch wheel whistle window wire workshop yard barn bench bowl cabin camera canal cave chapel
cellar chest cottage dial dock envelope ferry fireplace folder gallery hallway helmet hinge hive hook inn lawn ledge
loft mailbox mast medal orchard parcel pier plank porch quarry ramp reef saddle shed shutter signal sledge tile torch
trail trunk valve veranda windmill zipper""")

ANIMAL = Words("""cat dog horse cow sheep goat pig hen duck goose fox wolf bear deer rabbit squirrel mouse owl eagle hawk
crow robin sparrow swan heron frog toad turtle snake lizard salmon trout whale seal otter beaver badger hedgehog donkey
camel lion tiger leopard zebra giraffe elephant monkey parrot penguin bee ant spider moth beetle crab""")

FOOD = Words("""bread butter cheese soup rice pasta salad apple pear plum cherry grape lemon honey jam cake pie biscuit
pancake waffle omelette potato carrot onion tomato cabbage pepper bean lentil mushroom pumpkin walnut almond tea coffee
milk juice cocoa yogurt salmon tuna noodle dumpling curry stew pizza sandwich burrito olive garlic ginger""")

JOB = Words("""teacher doctor nurse farmer baker painter writer singer sailor pilot driver gardener carpenter plumber
engineer lawyer judge librarian musician tailor cook waiter fisherman shepherd miller potter blacksmith clerk postman
soldier guard builder dentist chemist student professor merchant captain mechanic electrician weaver jeweller
photographer journalist translator surveyor astronomer beekeeper clockmaker glazier""")

# past tense verbs with an object, and without
VERB_OBJ = Words("""carried cleaned repaired painted found lost sold bought borrowed described opened closed moved built
measured watched followed lifted dropped hid noticed collected counted crossed decorated delivered designed examined
fixed guarded inspected kept left mentioned ordered packed photographed polished protected pulled pushed received
remembered removed replaced returned saw searched sketched studied touched visited washed wrapped admired avoided
balanced copied dusted emptied covered explored""")
VERB = Words("""waited slept laughed worked rested sang walked listened arrived departed hesitated smiled whispered
danced shouted travelled hurried paused returned wandered talked argued agreed complained apologised nodded dreamed
studied practised stayed vanished yawned wept""")
ADV = Words("""slowly quickly quietly carefully often never always gladly suddenly early late again together alone
politely eagerly patiently rarely twice soon outside inside upstairs nearby calmly proudly""")
TIME = Words("""in the morning|at noon|in the evening|after lunch|before sunrise|at midnight|last winter|in early spring|
one summer|during the storm|on a Sunday|after the concert|before the meeting|on the first day|every autumn|that night|
a week later|some years ago|shortly before dinner|when the rain stopped|after a long walk|at the end of the month|
while the others slept|as soon as the bell rang""", "|")
PLACE = Words("""near the river|behind the church|in the old town|by the harbor|on the hill|under the bridge|at the market|
in the garden|next to the station|beyond the forest|at the edge of the lake|in a narrow street|inside the library|
above the bakery|along the canal|across the valley|in the kitchen|on the second floor|beside the mill|
at the end of the road|in the middle of the square|between two houses""", "|")

# for tool names: verb with the forms a user would say, and objects
TOOL_VERB = Words("""create:create,make,set up,add|delete:delete,remove,get rid of,erase|get:get,fetch,look up,show me|
find:find,search for,look for,locate|send:send,deliver,dispatch|update:update,change,modify,adjust|
list:list,show me,give me a list of|open:open,start up|close:close,shut|book:book,reserve|cancel:cancel,call off|
check:check,verify,inspect|convert:convert,transform|schedule:schedule,plan,arrange|play:play,start playing|
upload:upload,push up|download:download,pull down|copy:copy,duplicate|move:move,transfer,relocate|
rename:rename,give a new name to|print:print,print out|share:share,pass on|publish:publish,release|
archive:archive,store away|compress:compress,shrink|encrypt:encrypt,lock|count:count,tally|sort:sort,order|
filter:filter,narrow down|merge:merge,combine,join|split:split,divide|measure:measure,gauge|record:record,log,note down|
start:start,launch,kick off|stop:stop,halt,end|pause:pause,suspend|resume:resume,continue|order:order,buy|
rent:rent,hire|repair:repair,fix|track:track,follow|rate:rate,score|export:export,save out|import:import,load in|
approve:approve,confirm,sign off|reject:reject,turn down|assign:assign,hand over|monitor:monitor,keep an eye on|
register:register,sign up|validate:validate,test|render:render,draw|scan:scan,read in|query:query,ask|
reset:reset,restore|backup:backup,save a copy of|enable:enable,turn on,switch on|disable:disable,turn off,switch off|
subscribe:subscribe,sign up for|translate:translate,put into another language|calculate:calculate,work out,compute""", "|")

TOOL_OBJECT = Words("""invoice ticket playlist order meeting reminder note message email file folder report photo song video
flight hotel room table taxi train parcel package shipment account user profile password device sensor lamp heater
thermostat window door alarm camera robot printer server database record document spreadsheet chart budget payment refund
receipt coupon subscription membership contract recipe menu ingredient workout route map location address contact
appointment prescription patient student course lesson exam grade book article post comment tag label category project
task sprint branch commit build release pipeline container cluster node job queue backup snapshot volume disk network
domain certificate token session event calendar poll survey vote review rating product basket warehouse pallet truck
vehicle trip booking seat gate garden plant pump valve tank boiler engine battery charger panel meter antenna satellite
telescope drone sample specimen experiment dataset model checkpoint prompt transcript translation subtitle podcast
episode channel stream auction bid loan mortgage portfolio stock currency wallet transfer donation campaign banner
invitation guest wedding concert exhibit museum library shelf locker key badge permit passport visa""")

PARAM = Words("""name title city country street date time start_date end_date due_date start_time end_time duration amount
price quantity count limit offset page size width height depth weight length color language unit currency category type
status priority level mode format path file_path directory filename extension url host port protocol username password
email phone address zip_code region department team owner assignee author customer client supplier recipient sender
subject body message text content description comment note label tag keyword query pattern filter sort_order direction
source target destination origin latitude longitude altitude radius speed temperature humidity pressure voltage volume
brightness contrast channel frequency interval timeout retries threshold ratio percent score rating rank index position
seat row column table room floor building account_id user_id order_id ticket_id device_id session_id project_id item_id
version branch commit revision environment profile theme font style template layout material model brand serial_number
barcode reference code pin discount tax tip budget balance rate deadline reminder repeat notify recursive overwrite
force verbose dry_run public active archived urgent include_hidden case_sensitive genre artist album playlist season
episode ingredient servings diet allergy airline passenger luggage cabin vehicle driver plate fuel""")
