-- The tables of a warehouse, with the rows of inputs/: what postgres.toml reads.
--
--   psql visits -v ON_ERROR_STOP=1 -f warehouse.sql        in this folder
--
-- An empty field is null, a quoted one is an empty text.

CREATE TABLE factvisitcallperformance_cr (
    "Visit Id"                          text,
    "Application Visit Id"              bigint,
    "Patient Id"                        text,
    "Application Patient Id"            bigint,
    "Caregiver Id"                      text,
    "Application Caregiver Id"          bigint,
    "Provider Id"                       text,
    "Application Provider Id"           bigint,
    "Office Id"                         text,
    "Application Office Id"             bigint,
    "Payer Id"                          text,
    "Application Payer Id"              bigint,
    "Contract Id"                       text,
    "Application Contract Id"           bigint,
    "Service Code Id"                   text,
    "Application Service Code Id"       bigint,
    "Payer Patient Id"                  text,
    "Application Payer Patient Id"      bigint,
    "Provider Patient Id"               text,
    "Application Provider Patient Id"   bigint,
    "Visit Date"                        date,
    "Scheduled Start Time"              timestamp,
    "Scheduled End Time"                timestamp,
    "Visit Start Time"                  timestamp,
    "Visit End Time"                    timestamp,
    "Call In Time"                      timestamp,
    "Call In GPS Coordinates"           text,
    "Call Out Time"                     timestamp,
    "Call Out GPS Coordinates"          text,
    "Call Out Device Type"              text,
    "Bill Type"                         text,
    "Billed"                            text,
    "Billed Hours"                      double precision,
    "Billed Rate"                       double precision,
    "Total Billed Amount"               double precision,
    "Bill Rate Non-Billed"              double precision,
    "Invoice Date"                      timestamp,
    "Is Missed"                         boolean,
    "Missed Visit Reason"               text,
    "Visit Updated User Id"             text,
    "Application Visit Updated User Id" bigint,
    "Visit Updated Timestamp"           timestamp,
    "Updated Datatimestamp"             text,
    "Conflict Report Hash"              text
);
\copy factvisitcallperformance_cr from 'inputs/factvisitcallperformance_cr.csv' csv header

CREATE TABLE factvisitcallperformance_deleted_cr (
    "Visit Id"                          text,
    "Application Visit Id"              text,
    "Patient Id"                        text,
    "Application Patient Id"            text,
    "Caregiver Id"                      text,
    "Application Caregiver Id"          text,
    "Provider Id"                       text,
    "Application Provider Id"           text,
    "Office Id"                         text,
    "Application Office Id"             text,
    "Payer Id"                          text,
    "Application Payer Id"              text,
    "Contract Id"                       text,
    "Application Contract Id"           text,
    "Service Code Id"                   text,
    "Application Service Code Id"       text,
    "Payer Patient Id"                  text,
    "Application Payer Patient Id"      text,
    "Provider Patient Id"               text,
    "Application Provider Patient Id"   text,
    "Visit Date"                        text,
    "Scheduled Start Time"              text,
    "Scheduled End Time"                text,
    "Visit Start Time"                  text,
    "Visit End Time"                    text,
    "Call In Time"                      text,
    "Call In GPS Coordinates"           text,
    "Call Out Time"                     text,
    "Call Out GPS Coordinates"          text,
    "Call Out Device Type"              text,
    "Bill Type"                         text,
    "Billed"                            text,
    "Billed Hours"                      text,
    "Billed Rate"                       text,
    "Total Billed Amount"               text,
    "Bill Rate Non-Billed"              text,
    "Invoice Date"                      text,
    "Is Missed"                         text,
    "Missed Visit Reason"               text,
    "Visit Updated User Id"             text,
    "Application Visit Updated User Id" text,
    "Visit Updated Timestamp"           text,
    "Updated Datatimestamp"             text,
    "Conflict Report Hash"              text
);
\copy factvisitcallperformance_deleted_cr from 'inputs/factvisitcallperformance_deleted_cr.csv' csv header

CREATE TABLE factcaregiverinservice (
    "Application Caregiver Inservice Id" bigint,
    "Environment"                        text,
    "Caregiver Id"                       text,
    "Provider Id"                        text,
    "Office Id"                          text,
    "Inservice start date"               timestamp,
    "Inservice end date"                 timestamp,
    "Updated Datatimestamp"              text
);
\copy factcaregiverinservice from 'inputs/factcaregiverinservice.csv' csv header

CREATE TABLE dimcaregiver (
    "Caregiver Id"             text,
    "Application Caregiver Id" bigint,
    "Caregiver Code"           text,
    "Caregiver Firstname"      text,
    "Caregiver Lastname"       text,
    "Caregiver Fullname"       text,
    "SSN"                      text,
    "Status"                   text,
    "Updated Datatimestamp"    text
);
\copy dimcaregiver from 'inputs/dimcaregiver.csv' csv header

CREATE TABLE dimprovider (
    "Provider Id"             text,
    "Application Provider Id" bigint,
    "Provider Name"           text,
    "Address State"           text,
    "Federal Tax Number"      text,
    "Phone Number 1"          text,
    "Is Active"               boolean,
    "Is Demo"                 boolean,
    "Updated Datatimestamp"   text
);
\copy dimprovider from 'inputs/dimprovider.csv' csv header

CREATE TABLE dimoffice (
    "Office Id"             text,
    "Application Office Id" bigint,
    "Office Name"           text,
    "Is Active"             boolean,
    "Updated Datatimestamp" text,
    "Federal Tax Number"    text,
    "NPI"                   text
);
\copy dimoffice from 'inputs/dimoffice.csv' csv header

CREATE TABLE dimpayer (
    "Payer Id"              text,
    "Application Payer Id"  bigint,
    "Payer Name"            text,
    "Payer State"           text,
    "Is Active"             boolean,
    "Is Demo"               boolean,
    "Updated Datatimestamp" text
);
\copy dimpayer from 'inputs/dimpayer.csv' csv header

CREATE TABLE dimcontract (
    "Contract Id"             text,
    "Application Contract Id" bigint,
    "Contract Name"           text,
    "Is Active"               boolean,
    "Updated Datatimestamp"   text
);
\copy dimcontract from 'inputs/dimcontract.csv' csv header

CREATE TABLE dimservicecode (
    "Service Code Id"             text,
    "Application Service Code Id" bigint,
    "Service Code"                text,
    "Updated Datatimestamp"       text
);
\copy dimservicecode from 'inputs/dimservicecode.csv' csv header

CREATE TABLE dimuser (
    "User Id"                  text,
    "Application User Id"      bigint,
    "User Fullname"            text,
    "User Email Address"       text,
    "Vendor Id"                text,
    "Application Vendor Id"    text,
    "Aggregator Database Name" text,
    "Conflict Report Hash"     text
);
\copy dimuser from 'inputs/dimuser.csv' csv header

CREATE TABLE dimpatient (
    "Patient Id"             text,
    "Payer Id"               text,
    "Application Patient Id" bigint,
    "Patient Firstname"      text,
    "Patient Lastname"       text,
    "Patient Name"           text,
    "Admission Id"           text,
    "Medicaid Number"        text,
    "Status"                 text,
    "Has Visit"              text,
    "Updated Datatimestamp"  text,
    "Conflict Report Hash"   text
);
\copy dimpatient from 'inputs/dimpatient.csv' csv header

CREATE TABLE dimpatientaddress (
    "Patient Address Id"                text,
    "Application Patient Address Id"    bigint,
    "Patient Id"                        text,
    "Application Patient Id"            bigint,
    "Address Type"                      text,
    "Address Line 1"                    text,
    "Address Line 2"                    text,
    "City"                              text,
    "County"                            text,
    "Address State"                     text,
    "Zip Code"                          text,
    "Primary Address"                   boolean,
    "Latitude"                          double precision,
    "Longitude"                         double precision,
    "Application Created UTC Timestamp" timestamp,
    "Updated Datatimestamp"             text
);
\copy dimpatientaddress from 'inputs/dimpatientaddress.csv' csv header

CREATE TABLE mph (
    "From"                double precision,
    "To"                  double precision,
    "AverageMilesPerHour" double precision
);
\copy mph from 'inputs/mph.csv' csv header

CREATE TABLE settings (
    "ExtraDistance"    text,
    "ExtraDistancePer" double precision,
    "ID"               bigint
);
\copy settings from 'inputs/settings.csv' csv header

CREATE TABLE excluded_agency (
    "AgencyName"    text,
    "ProviderID"    text,
    "AppProviderID" bigint
);
\copy excluded_agency from 'inputs/excluded_agency.csv' csv header

CREATE TABLE excluded_ssn (
    "SSN" text
);
\copy excluded_ssn from 'inputs/excluded_ssn.csv' csv header
